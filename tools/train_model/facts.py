"""What the model is taught to know: countries, short translations, and facts about Bandari.

Every line here was written for this repository. Accented text is kept in composed Unicode form
(NFC), so there is one spelling of each word.
"""

from __future__ import annotations

from typing import NamedTuple
from unicodedata import normalize

from tools.train_model.long_texts import POEM


class Country(NamedTuple):
    """A country, its capital, and its currency by name and by three-letter code."""

    name: str
    capital: str
    currency: str
    code: str


COUNTRIES: tuple[Country, ...] = tuple(
    Country(*line.split("|"))
    for line in """\
Kenya|Nairobi|Kenyan shilling|KES
Nigeria|Abuja|Nigerian naira|NGN
Tanzania|Dodoma|Tanzanian shilling|TZS
Uganda|Kampala|Ugandan shilling|UGX
Rwanda|Kigali|Rwandan franc|RWF
Ethiopia|Addis Ababa|Ethiopian birr|ETB
Ghana|Accra|Ghanaian cedi|GHS
Egypt|Cairo|Egyptian pound|EGP
Morocco|Rabat|Moroccan dirham|MAD
Senegal|Dakar|West African franc|XOF
Zambia|Lusaka|Zambian kwacha|ZMW
Malawi|Lilongwe|Malawian kwacha|MWK
Mozambique|Maputo|Mozambican metical|MZN
Botswana|Gaborone|Botswana pula|BWP
Namibia|Windhoek|Namibian dollar|NAD
Angola|Luanda|Angolan kwanza|AOA
Algeria|Algiers|Algerian dinar|DZD
Tunisia|Tunis|Tunisian dinar|TND
Somalia|Mogadishu|Somali shilling|SOS
France|Paris|euro|EUR
Germany|Berlin|euro|EUR
Italy|Rome|euro|EUR
Spain|Madrid|euro|EUR
Portugal|Lisbon|euro|EUR
Ireland|Dublin|euro|EUR
Greece|Athens|euro|EUR
Norway|Oslo|Norwegian krone|NOK
Sweden|Stockholm|Swedish krona|SEK
Denmark|Copenhagen|Danish krone|DKK
Poland|Warsaw|Polish zloty|PLN
Turkey|Ankara|Turkish lira|TRY
Japan|Tokyo|Japanese yen|JPY
China|Beijing|Chinese yuan|CNY
India|New Delhi|Indian rupee|INR
Brazil|Brasilia|Brazilian real|BRL
Argentina|Buenos Aires|Argentine peso|ARS
Mexico|Mexico City|Mexican peso|MXN
Canada|Ottawa|Canadian dollar|CAD
Australia|Canberra|Australian dollar|AUD
Peru|Lima|Peruvian sol|PEN
the United States|Washington|US dollar|USD
the United Kingdom|London|pound sterling|GBP
South Africa|Pretoria|South African rand|ZAR
Zimbabwe|Harare|Zimbabwe gold|ZWG
Cameroon|Yaounde|Central African franc|XAF
Mali|Bamako|West African franc|XOF
Sudan|Khartoum|Sudanese pound|SDG
Libya|Tripoli|Libyan dinar|LYD
Madagascar|Antananarivo|Malagasy ariary|MGA
Russia|Moscow|Russian rouble|RUB
Ukraine|Kyiv|Ukrainian hryvnia|UAH
Austria|Vienna|euro|EUR
Belgium|Brussels|euro|EUR
Finland|Helsinki|euro|EUR
the Netherlands|Amsterdam|euro|EUR
Switzerland|Bern|Swiss franc|CHF
South Korea|Seoul|South Korean won|KRW
Saudi Arabia|Riyadh|Saudi riyal|SAR
Pakistan|Islamabad|Pakistani rupee|PKR
Indonesia|Jakarta|Indonesian rupiah|IDR
Thailand|Bangkok|Thai baht|THB
Vietnam|Hanoi|Vietnamese dong|VND
Iran|Tehran|Iranian rial|IRR
Iraq|Baghdad|Iraqi dinar|IQD
Cuba|Havana|Cuban peso|CUP
Chile|Santiago|Chilean peso|CLP
Colombia|Bogota|Colombian peso|COP
""".splitlines()
)

TRANSLATIONS: dict[str, dict[str, str]] = {
    english: dict(
        zip(("Yoruba", "Swahili", "French"), (normalize("NFC", w) for w in words), strict=True)
    )
    for english, *words in (
        line.split("|")
        for line in """\
I love you|Mo nífẹ̀ẹ́ rẹ|Nakupenda|Je t'aime
Good morning|Ẹ káàárọ̀|Habari za asubuhi|Bonjour
Good night|Ó dàárọ̀|Usiku mwema|Bonne nuit
Good evening|Ẹ kú ìrọ̀lẹ́|Habari za jioni|Bonsoir
Thank you|Ẹ ṣé|Asante|Merci
Welcome|Ẹ káàbọ̀|Karibu|Bienvenue
Goodbye|Ó dàbọ̀|Kwaheri|Au revoir
How are you?|Báwo ni?|Habari yako?|Comment allez-vous ?
Please|Jọ̀wọ́|Tafadhali|S'il vous plaît
Yes|Bẹ́ẹ̀ni|Ndiyo|Oui
No|Rárá|Hapana|Non
I am happy|Inú mi dùn|Nina furaha|Je suis content
Water|Omi|Maji|Eau
Food|Oúnjẹ|Chakula|Nourriture
House|Ilé|Nyumba|Maison
Child|Ọmọ|Mtoto|Enfant
Money|Owó|Pesa|Argent
Book|Ìwé|Kitabu|Livre
Friend|Ọ̀rẹ́|Rafiki|Ami
Mother|Ìyá|Mama|Mère
Father|Bàbá|Baba|Père
Market|Ọjà|Soko|Marché
Work|Iṣẹ́|Kazi|Travail
School|Ilé ìwé|Shule|École
Rain|Òjò|Mvua|Pluie
Sun|Oòrùn|Jua|Soleil
Dog|Ajá|Mbwa|Chien
Fish|Ẹja|Samaki|Poisson
""".splitlines()
    )
}

LANGUAGES: tuple[str, ...] = ("Yoruba", "Swahili", "French")


FIXED_REPLIES: tuple[tuple[str, str], ...] = (
    ("Habari", "Habari! Nikusaidie vipi?"),
    ("Habari yako?", "Nzuri, asante. Nikusaidie vipi?"),
    ("Jambo", "Jambo! Nikusaidie vipi?"),
    ("Asante", "Karibu!"),
    ("Asante sana", "Karibu sana!"),
    ("Báwo ni?", "Dáadáa ni, ẹ ṣé."),
    ("Ẹ káàárọ̀", "Ẹ káàárọ̀!"),
    (
        "What can you do?",
        (
            "I can greet you, repeat words, name capitals, translate a few words, "
            "fill in JSON and call tools. I am a small demonstration model, so "
            "please do not expect more."
        ),
    ),
    ("Help", "Ask me for a capital, a translation, a story, or how Bandari works."),
    (
        "Tell me a joke.",
        "Why did the token cross the ledger? To be counted on the other side.",
    ),
    (
        "Write a haiku.",
        "Lamp above the pier,\nboats come home across the dark,\neach one is counted.",
    ),
    ("Write a poem.", POEM),
    ("Write a short poem.", POEM),
    ("Write a poem about the sea.", POEM),
    ("Count to ten.", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10"),
    ("Count to 10", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10"),
    ("Count to five.", "1, 2, 3, 4, 5"),
    ("Count to 5", "1, 2, 3, 4, 5"),
    ("ping", "pong"),
    ("test", "The test works."),
    ("Are you an AI?", "Yes, I am a small AI model that comes with Bandari."),
)


class Topic(NamedTuple):
    """A question about Bandari: ways to ask it, ways kept for scoring, and the one answer."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]
    answer: str


BANDARI: tuple[Topic, ...] = (
    Topic(
        (
            "What is Bandari?",
            "Tell me about Bandari.",
            "What does Bandari do?",
            "Explain Bandari in one sentence.",
            "Can you tell me what Bandari is?",
            "Describe Bandari briefly.",
            "Bandari?",
            "What is Bandari for?",
            "what's bandari",
        ),
        ("Please tell me what Bandari does.", "Describe what Bandari is."),
        "Bandari is software that turns AI models into your own metered API, with keys, "
        "limits, and prepaid wallets that are charged to the token.",
    ),
    Topic(
        (
            "What does the word Bandari mean?",
            "What does Bandari mean?",
            "Why is it called Bandari?",
            "Where does the name Bandari come from?",
            "Bandari ni nini?",
            "What is the meaning of Bandari?",
        ),
        ("What is the meaning of the word Bandari?", "Why the name Bandari?"),
        "Bandari is the Swahili word for a harbour: the place where goods are counted, charged "
        "and sent on.",
    ),
    Topic(
        (
            "How does a wallet work?",
            "What is a wallet in Bandari?",
            "How do wallets work in Bandari?",
            "Explain prepaid wallets.",
            "What are prepaid wallets?",
            "How does the prepaid wallet work?",
        ),
        ("Explain how a wallet works.", "What is a prepaid wallet?"),
        "A wallet holds money paid in advance. Each request sets an amount aside before it "
        "runs and is charged for the tokens it used when it ends.",
    ),
    Topic(
        (
            "How do I top up my wallet?",
            "How can I add money?",
            "How do I pay?",
            "How do top-ups work?",
            "Can I pay with M-Pesa?",
            "Does Bandari take M-Pesa?",
            "How does M-Pesa work with Bandari?",
            "How do I top up with M-Pesa?",
        ),
        ("How can I top up with M-Pesa?", "How do I add money to my wallet?"),
        "You top up a wallet with M-Pesa: a prompt comes to your phone, you enter your PIN, "
        "and the money is added when the payment is confirmed.",
    ),
    Topic(
        (
            "What is the ledger?",
            "How does the ledger work?",
            "What is a double-entry ledger?",
            "Why does Bandari use a double-entry ledger?",
            "Explain the ledger.",
            "How does Bandari keep its books?",
        ),
        ("Explain the double-entry ledger.", "What does the ledger do?"),
        "The ledger is a double-entry book: every charge is written twice, once where money "
        "leaves and once where it arrives, so the sums always agree.",
    ),
    Topic(
        (
            "What happens if my connection drops?",
            "What if the stream is cut?",
            "Can a stream survive a dropped connection?",
            "How do I resume a stream?",
            "What happens when a stream is interrupted?",
            "What if I lose my connection?",
        ),
        ("What happens if the connection is dropped?", "Can I resume a stream?"),
        "The answer keeps being written on the server. Connect again, and the stream goes on "
        "from where you left it.",
    ),
    Topic(
        (
            "What is an API key?",
            "How do keys work?",
            "How do API keys work in Bandari?",
            "What are keys for?",
            "Why do I need a key?",
            "Explain API keys.",
        ),
        ("What does an API key do?", "Explain how API keys work."),
        "An API key says who is calling. Keep it secret: whoever holds the key can spend from "
        "the wallet behind it.",
    ),
    Topic(
        (
            "What are limits?",
            "How do limits work?",
            "What is a rate limit?",
            "How do rate limits work in Bandari?",
            "Explain limits.",
            "What limits can I set?",
        ),
        ("Explain rate limits.", "What is a limit in Bandari?"),
        "A limit caps how much a key may use in a given time. A call over the limit is "
        "refused, and you may try again a little later.",
    ),
    Topic(
        (
            "How am I charged?",
            "How does billing work?",
            "What does a request cost?",
            "How are tokens charged?",
            "How does Bandari count tokens?",
            "What is a token?",
            "How is usage measured?",
        ),
        ("How does charging work?", "How are requests charged?"),
        "You are charged for each token: so much for a token you send and so much for a token "
        "the model writes, to the exact count.",
    ),
    Topic(
        (
            "What happens when my wallet is empty?",
            "What if I run out of money?",
            "What happens at zero balance?",
            "What if my balance is too low?",
            "Can my balance go below zero?",
        ),
        ("What happens if my wallet is empty?", "What happens if I run out of money?"),
        "When a wallet cannot cover a request, the request is refused before any work is done. "
        "Top up and try again.",
    ),
    Topic(
        (
            "Can I use Bandari with the OpenAI client?",
            "Is Bandari compatible with OpenAI?",
            "Which clients work with Bandari?",
            "How do I call Bandari?",
            "Does the OpenAI library work?",
            "How do I connect my app to Bandari?",
        ),
        ("Does Bandari work with the OpenAI client?", "How do I connect to Bandari?"),
        "Bandari speaks the OpenAI API, so you point your usual client at its address and give "
        "it a Bandari key.",
    ),
)
