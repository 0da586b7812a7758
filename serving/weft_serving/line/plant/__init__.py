"""What a plant hears of a line: MQTT 5 and OPC UA, and the outbox that loses nothing."""
