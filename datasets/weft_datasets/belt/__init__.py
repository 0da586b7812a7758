"""A simulated sorting belt: garments of known composition under a NIR line camera and a colour camera."""
