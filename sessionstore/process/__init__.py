"""Who is alive: this process, and how another one is judged. The only door to psutil."""
