"""What a command shows in a terminal while it works: phases, time left, progress. Input: progress; output: text."""
