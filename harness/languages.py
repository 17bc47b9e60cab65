"""Language codes and names: ISO 639-1 and 639-3. Knows no task and no data set.

The harness writes a language as its ISO 639-1 code where there is one and as its ISO 639-3 code otherwise, and takes
either. Codes of the individual language that stands for a macrolanguage in most data sets (``cmn`` for Chinese, ``swh``
for Swahili …) are taken too. Source of codes and names: ISO 639-3 registration authority (SIL).
"""

from __future__ import annotations

from harness.errors import UsageError

# The other side of every translation pair.
PIVOT = "en"

# two-letter code, three-letter code, further three-letter codes of the same language in data sets, name
_TABLE = """
aa aar - Afar|ab abk - Abkhazian|af afr - Afrikaans|ak aka - Akan|am amh - Amharic|an arg - Aragonese
ar ara arb Arabic|as asm - Assamese|av ava - Avaric|ay aym ayr Aymara|az aze azj Azerbaijani|ba bak - Bashkir
be bel - Belarusian|bg bul - Bulgarian|bi bis - Bislama|bm bam - Bambara|bn ben - Bengali|bo bod - Tibetan
br bre - Breton|bs bos - Bosnian|ca cat - Catalan|ce che - Chechen|ch cha - Chamorro|co cos - Corsican
cr cre - Cree|cs ces - Czech|cu chu - Church Slavic|cv chv - Chuvash|cy cym - Welsh|da dan - Danish
de deu - German|dv div - Dhivehi|dz dzo - Dzongkha|ee ewe - Ewe|el ell - Greek|en eng - English|eo epo - Esperanto
es spa - Spanish|et est ekk Estonian|eu eus - Basque|fa fas pes Persian|ff ful - Fulah|fi fin - Finnish|fj fij - Fijian
fo fao - Faroese|fr fra - French|fy fry - Western Frisian|ga gle - Irish|gd gla - Scottish Gaelic|gl glg - Galician
gn grn - Guarani|gu guj - Gujarati|gv glv - Manx|ha hau - Hausa|he heb - Hebrew|hi hin - Hindi|hr hrv - Croatian
ht hat - Haitian Creole|hu hun - Hungarian|hy hye - Armenian|ia ina - Interlingua|id ind - Indonesian
ie ile - Interlingue|ig ibo - Igbo|ii iii - Sichuan Yi|io ido - Ido|is isl - Icelandic|it ita - Italian
iu iku - Inuktitut|ja jpn - Japanese|jv jav - Javanese|ka kat - Georgian|kg kon - Kongo|ki kik - Kikuyu
kk kaz - Kazakh|kl kal - Kalaallisut|km khm - Khmer|kn kan - Kannada|ko kor - Korean|ks kas - Kashmiri
ku kur kmr Kurdish|kv kom - Komi|kw cor - Cornish|ky kir - Kyrgyz|la lat - Latin|lb ltz - Luxembourgish|lg lug - Ganda
li lim - Limburgish|ln lin - Lingala|lo lao - Lao|lt lit - Lithuanian|lv lav lvs Latvian|mg mlg plt Malagasy
mi mri - Maori|mk mkd - Macedonian|ml mal - Malayalam|mn mon khk Mongolian|mr mar - Marathi|ms msa zsm Malay
mt mlt - Maltese|my mya - Burmese|nb nob - Norwegian Bokmål|ne nep npi Nepali|nl nld - Dutch
nn nno - Norwegian Nynorsk|no nor - Norwegian|nv nav - Navajo|ny nya - Nyanja|oc oci - Occitan|om orm gaz Oromo
or ori ory Odia|os oss - Ossetian|pa pan - Punjabi|pl pol - Polish|ps pus pbt Pashto|pt por - Portuguese
qu que quy Quechua|rm roh - Romansh|rn run - Rundi|ro ron - Romanian|ru rus - Russian|rw kin - Kinyarwanda
sa san - Sanskrit|sc srd - Sardinian|sd snd - Sindhi|se sme - Northern Sami|sg sag - Sango|si sin - Sinhala
sk slk - Slovak|sl slv - Slovenian|sm smo - Samoan|sn sna - Shona|so som - Somali|sq sqi als Albanian|sr srp - Serbian
ss ssw - Swati|st sot - Southern Sotho|su sun - Sundanese|sv swe - Swedish|sw swa swh Swahili|ta tam - Tamil
te tel - Telugu|tg tgk - Tajik|th tha - Thai|ti tir - Tigrinya|tk tuk - Turkmen|tl tgl - Tagalog|tn tsn - Tswana
to ton - Tonga|tr tur - Turkish|ts tso - Tsonga|tt tat - Tatar|tw twi - Twi|ug uig - Uyghur|uk ukr - Ukrainian
ur urd - Urdu|uz uzb uzn Uzbek|vi vie - Vietnamese|wa wln - Walloon|wo wol - Wolof|xh xho - Xhosa
yi yid ydd Yiddish|yo yor - Yoruba|za zha - Zhuang|zh zho cmn Chinese|zu zul - Zulu
- ang - Old English|- arq - Algerian Arabic|- arz - Egyptian Arabic|- ast - Asturian|- awa - Awadhi|- ber - Berber
- cbk - Chavacano|- ceb - Cebuano|- csb - Kashubian|- dsb - Lower Sorbian|- dtp - Kadazan Dusun
- gsw - Swiss German|- hsb - Upper Sorbian|- kab - Kabyle|- kzj - Coastal Kadazan|- lfn - Lingua Franca Nova
- max - North Moluccan Malay|- mhr - Meadow Mari|- nds - Low German|- nov - Novial|- orv - Old East Slavic
- pam - Kapampangan|- pms - Piedmontese|- swg - Swabian|- tzl - Talossan|- war - Waray|- wuu - Wu Chinese
- yue - Cantonese
"""


def _parse() -> tuple[dict[str, str], dict[str, str]]:
    names: dict[str, str] = {}
    canonical: dict[str, str] = {}
    for entry in _TABLE.replace("\n", "|").split("|"):
        if not entry.strip():
            continue
        two, three, further, name = entry.split(" ", 3)
        code = three if two == "-" else two
        names[code] = name
        canonical.update({spelling: code for spelling in (two, three, further) if spelling != "-"})
    return names, canonical


_NAMES, _CANONICAL = _parse()


def canonical(code: str) -> str:
    """The harness's spelling of a language code.

    Raises:
        UsageError: The code is not known.

    >>> canonical("deu"), canonical("cmn"), canonical("yue"), canonical("SW")
    ('de', 'zh', 'yue', 'sw')
    """
    found = _CANONICAL.get(code.lower())
    if found is None:
        raise UsageError(f"unknown language code '{code}'; give an ISO 639-1 or 639-3 code such as de or deu")
    return found


def is_canonical(code: str) -> bool:
    """Whether a code is written as the harness writes it."""
    return code in _NAMES


def name(code: str) -> str:
    """The English name of a language, or the code itself when it has none here.

    >>> name("sw")
    'Swahili'
    """
    return _NAMES.get(code, code)
