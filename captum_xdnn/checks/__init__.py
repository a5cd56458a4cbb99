"""What is checked at every call beside what is proved."""
