"""What a head shows besides arterial calcification: mimics, bleeding, metal, and artefacts."""
