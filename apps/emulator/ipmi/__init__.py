"""BMCs over IPMI 2.0: OpenIPMI's ipmi_sim, with a module of ours for what it lacks."""
