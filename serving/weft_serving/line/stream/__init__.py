"""How frames get into a line, and what goes back: socket, replay, watched folder."""
