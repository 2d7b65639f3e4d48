"""The parts of the window stream, in the order in which a batch passes them.

`config` what varies · `draw` random numbers · `atlas` all heads on the device · `place` where each
voxel lies · `tissue` another head's bone · `mimics` what looks like calcification and is none ·
`calcium` implants · `slices` where slices lie · `operators` the laws as matrices · `artefacts`.
"""
