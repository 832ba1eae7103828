"""The cluster that decisions act on: emulated in the process, behind HTTP, or Kubernetes."""
