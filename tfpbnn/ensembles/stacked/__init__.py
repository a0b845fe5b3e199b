"""Networks with weights of their own, trained together or apart."""
