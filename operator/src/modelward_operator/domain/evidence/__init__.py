"""Evidence from counts on whether a challenger is as good as the champion."""
