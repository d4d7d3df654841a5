"""Names for people and companies that do not exist."""


def _each(names: str) -> tuple[str, ...]:
    return tuple(names.split())


FIRST_NAMES = _each(
    "Ada Ali Amara Anders Anna Arjun Bea Ben Carla Chen Clara Dana David Deniz Elif Emil Emma Erik Eva Felix Femi"
    " Finn Grace Hana Hugo Ines Ivan Jana Jens Jonas Juan Julia Karim Kate Kofi Lara Lars Lea Leo Lina Luca Maja"
    " Marco Maria Mark Mei Mia Mika Milan Mona Nadia Nils Nina Noah Nora Olga Omar Oscar Paul Pia Priya Quinn Rana"
    " Rosa Sam Sara Sean Sofia Sven Tariq Tess Theo Tim Tom Uma Vera Viktor Will Yara Yuki Zoe"
)
LAST_NAMES = _each(
    "Abbasi Adler Akin Baker Banerjee Berg Bianchi Bloom Brandt Castro Cole Costa Dahl Diaz Duval Eriksen Farah"
    " Fischer Flores Foster Gallo Garcia Grant Haas Hansen Hayashi Hill Horvat Ito Jansen Kaya Keller Khan Klein"
    " Kowalska Larsen Lopez Malik Marin Mensah Meyer Moreau Nowak Okafor Olsen Park Peters Petrov Quist Rao Reyes"
    " Rossi Sato Schmidt Silva Singh Sousa Stone Tanaka Varga Vogel Wagner Weber Winter Wolf Wong Young Zhang"
)
PREFIXES = _each(
    "Alder Amber Anchor Arbor Ashford Aspen Aurora Basalt Beacon Birch Bluefin Bramble Bridge Cedar Cinder Clover"
    " Cobalt Copper Coral Crane Delta Drift Dune Ember Falcon Fern Fjord Flint Garnet Glacier Granite Grove Harbor"
    " Hazel Heron Hollow Indigo Iris Ivory Jasper Juniper Kestrel Lantern Larch Linden Lumen Lupine Maple Marble"
    " Meadow Merlin Mistral Moss Nimbus Oak Ochre Onyx Opal Orchard Otter Pebble Pine Plover Prairie Quarry Quill"
    " Raven Reed River Rowan Saffron Sage Sequoia Slate Sparrow Spruce Sterling Summit Sycamore Tandem Thistle"
    " Tidal Timber Umber Vale Verbena Vesper Violet Walnut Wicker Willow Wren Yarrow Zephyr"
)
SUFFIXES = {
    "software": ("Systems", "Software", "Cloud", "Data"),
    "fintech": ("Pay", "Capital", "Ledger", "Finance"),
    "consulting": ("Partners", "Advisory", "Consulting", "Associates"),
    "manufacturing": ("Works", "Robotics", "Machines", "Motors"),
    "design": ("Studio", "Design", "Creative", "Interiors"),
    "logistics": ("Freight", "Logistics", "Shipping", "Couriers"),
    "health": ("Health", "Clinics", "Care", "Labs"),
    "retail": ("Goods", "Market", "Outfitters", "Home"),
    "media": ("Media", "Press", "Films", "Radio"),
    "education": ("Academy", "College", "School", "Institute"),
}
GOOD_INDUSTRIES = ("software", "fintech", "consulting", "manufacturing", "design")
INDUSTRIES = tuple(SUFFIXES)
# Country to hours ahead of UTC.
COUNTRIES = {
    "US": -6,
    "CA": -5,
    "BR": -3,
    "GB": 0,
    "DE": 1,
    "NL": 1,
    "FR": 1,
    "SE": 1,
    "PL": 1,
    "IN": 5,
    "JP": 9,
    "AU": 10,
}
GOOD_COUNTRIES = ("US", "CA", "GB", "DE", "NL", "FR", "SE")
TITLES = ("Product manager", "Designer", "Engineer", "Team lead", "Scrum master", "Operations", "Head of product", "HR")


def company_name(number: int, industry: str) -> str:
    """Return a name that no other number has."""
    endings = SUFFIXES[industry]
    lap, step = divmod(number, len(PREFIXES))
    place = step * 37 % len(PREFIXES)  # 37 shares no factor with the length: neighbours do not start alike
    turn, shift = divmod(lap, len(PREFIXES))
    second = f" & {PREFIXES[(place + shift * 7) % len(PREFIXES)]}" if shift else ""
    later = f" {turn + 1}" if turn else ""
    return f"{PREFIXES[place]}{second} {endings[number % len(endings)]}{later}"
