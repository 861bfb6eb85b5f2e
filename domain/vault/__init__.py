"""What is personal: keys per patient, sealed fields, search tokens, claims. The only thing that forgets."""
