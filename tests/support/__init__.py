"""What tests share.

Nothing here measures time. PATIENCE_S is how long a test waits for something that takes seconds on a quiet
machine before it says that it hangs.
"""

PATIENCE_S = 900
