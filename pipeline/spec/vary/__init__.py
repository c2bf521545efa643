"""What `vary` in a sweep file stands for: factors, and the settings that they are expanded to."""
