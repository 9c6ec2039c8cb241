"""Before a run costs anything: what a config comes to, in problems, memory, tokens and hours."""
