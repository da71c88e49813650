"""What all tests share: Ctrl-C reaches the commands that they start."""

import signal

# A shell that starts pytest in the background lets it ignore Ctrl-C, and so do all its children; some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
