"""Whether a challenger is as good as the champion, from counts."""
