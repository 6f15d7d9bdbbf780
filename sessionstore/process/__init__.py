"""Who is alive: what identifies this process, and how another one is judged."""
