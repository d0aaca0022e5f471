"""What therapists do in sessions, and how the alliance goes on."""
