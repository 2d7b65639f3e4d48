"""The parts that break the layers: skull base, orbits, sinuses, air cells, sinuses of the dura.

Each part is painted over what lies below it, in order. Places are in the head's frame (mm, x left,
y posterior, z superior, origin on the sella's floor) and pass through the person's wobble.
"""

from iac_cli.simulate.anatomy.parts.dura import dura
from iac_cli.simulate.anatomy.parts.face import face
from iac_cli.simulate.anatomy.parts.maker import PartMaker
from iac_cli.simulate.anatomy.parts.nose import nose
from iac_cli.simulate.anatomy.parts.occiput import occiput
from iac_cli.simulate.anatomy.parts.orbit import orbit
from iac_cli.simulate.anatomy.parts.part import Part
from iac_cli.simulate.anatomy.parts.sella import cavernous, sella
from iac_cli.simulate.anatomy.parts.sphenoid import clinoids, sphenoid, sphenoid_air
from iac_cli.simulate.anatomy.parts.temporal import petrous


def make_parts(maker: PartMaker) -> list[Part]:
    """All parts of one head, in the order of painting."""
    parts = [*occiput(maker), *sphenoid(maker), *nose(maker)]
    for side in (1.0, -1.0):
        parts += [*orbit(maker, side), *face(maker, side), *petrous(maker, side)]
    parts += [*sphenoid_air(maker), *sella(maker)]
    for side in (1.0, -1.0):
        parts += [*cavernous(maker, side), *clinoids(maker, side)]
    return [*parts, *dura(maker)]
