"""What should happen, and the cluster it happens on."""
