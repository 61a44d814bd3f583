"""The settings of a server: judged before they are written, taken up, and put back where it does not start."""
