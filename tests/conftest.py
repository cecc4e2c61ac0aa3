"""What holds for every test, wherever it was started from."""

from __future__ import annotations

import signal
import threading

from hypothesis import HealthCheck, settings

# A machine that is busy with other things says nothing about our code.
settings.register_profile("opsbook", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("opsbook")

# A shell without job control starts what it puts into the background with Ctrl-C ignored, and so would every process
# that a test starts and interrupts.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
