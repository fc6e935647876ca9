"""netx files in lava-dl's own reader beside ours, every spike, u and v compared (`make netx`)."""
