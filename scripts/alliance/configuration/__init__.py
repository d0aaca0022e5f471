"""What the study's authors choose: configuration, scenarios, sites and instruments, read and checked."""
