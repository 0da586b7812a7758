"""How the service is: the last hours, what it says of its own answers, alarms, and the page that shows it."""
