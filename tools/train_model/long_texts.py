"""Long answers, written for this repository, so that a streamed reply has something to stream."""

from __future__ import annotations

from typing import NamedTuple

POEM = """\
The lamp is lit, the tide is low,
the boats come home, the boats are slow.
The clerk counts fish, the clerk counts grain,
and writes it down, and counts again."""


class LongText(NamedTuple):
    """Requests that call for one of these long answers; which answer is given is left to chance."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]
    answers: tuple[str, ...]


THE_LAMP = """\
Long ago, in a small harbour town, there lived a girl named Zawadi who kept the lamp at the end \
of the pier. Every evening she climbed the stone steps, filled the lamp with oil, and lit it \
before the first star came out. The fishermen knew its yellow light well. When the sea was rough \
and the sky was black, they looked for it and turned their boats towards home.

One night a great wind came down from the hills. It shook the doors, broke the branches of the \
old mango tree, and blew out every fire in the town. Zawadi ran to the pier, but the wind had \
thrown the lamp into the sea. Far out on the water she could hear the men calling to each other, \
and she knew that they could not find the way.

She did not cry. She ran from house to house and knocked on every door. "Bring me what shines," \
she said. An old woman brought a copper pot. A baker brought a tray. The children brought \
spoons, mirrors and tin cups. Together they climbed to the top of the hill, where one small fire \
still burned under a rock, and they held their bright things around it in a ring.

The little fire grew a hundred times. It shone in the pots, and in the mirrors, and in the eyes \
of the people. Out on the sea the fishermen saw a new star, low and golden, and they rowed \
towards it until their boats touched the sand.

In the morning the wind was gone. The town built a new lamp, taller than the old one, and set \
around it all the pots and mirrors that had saved the boats. They asked Zawadi what it should be \
called. She thought for a while and answered, "Call it ours." And so it has been called from \
that day to this."""

THE_GOAT = """\
Once upon a time there was a goat named Baraka who wanted to see where the road ended. The other \
goats laughed at him. "A road has no end," they said. "There is grass here, and water here. What \
more does a goat need?" But Baraka looked at the long red road every morning, and every morning \
it seemed to call him.

So one day he began to walk. On the first day he met a tortoise. "Where does the road end?" \
asked Baraka. "I do not know," said the tortoise, "but I carry my house with me, so I have never \
needed to ask." They walked together until the sun went down, and the goat learned to go slowly \
and to look at small things.

On the second day he met a bird with blue wings. "Where does the road end?" asked Baraka. "From \
the sky it looks like a string," said the bird, "and at each end of the string there is a \
village." The bird flew ahead and told him where the rivers were, and the goat learned to listen \
to those who can see further.

On the third day he met a trader with a heavy cart. "Where does the road end?" asked Baraka. "It \
ends where I sell my last bag of salt," said the trader, "and there it begins again." The goat \
helped him pull the cart up the hill, and learned that a load is lighter when two share it.

On the fourth day Baraka came over a green hill and saw goats, and grass, and water, and a long \
red road. He had walked in a great circle and he was home. The others ran to meet him. "Well," \
they said, "where does the road end?" Baraka lay down in the shade and smiled. "It ends where \
someone is waiting for you," he said. Then he slept, and dreamed of the road."""

HOW_BANDARI_WORKS = """\
Bandari turns a model that you run yourself into an API that you can sell. It stands between \
your users and the model, like a harbour between the sea and the town: everything that passes \
through is checked, counted and charged.

First come the keys. You make an account for each customer and give it one or more API keys. A \
key says who is calling. You can set limits on it, and you can revoke it when it is no longer \
needed. Because Bandari speaks the OpenAI API, your customers can keep the client they already \
use: they change the address and the key, and nothing else.

Next comes the wallet. Bandari is prepaid. A customer tops up a wallet, for example with M-Pesa: \
a prompt comes to the phone, the customer enters a PIN, and the money is added when the payment \
is confirmed. Before a request runs, Bandari sets aside enough money to cover the longest answer \
it could give. When the answer is finished, the tokens are counted, the exact price is charged, \
and the rest is given back at once.

All of this is written in a ledger with double entry. Every charge appears twice, once where the \
money leaves and once where it arrives, so the books always agree. You can look at any sum and \
find the requests that made it.

Then comes the answer itself. It can be sent whole or as a stream, word by word. If the \
connection drops in the middle, the answer keeps being written on the server. The client \
connects again and the stream goes on from where it was, so nothing is lost and nothing is paid \
for twice.

Last come the limits. Each key may use only so much in a given time, so that one busy customer \
cannot slow down all the others. When the machine is full, requests wait in a line, and each \
takes its turn.

That is the whole of it: keys, limits, wallets, a ledger, and streams that last. The model does \
the talking. Bandari does the counting."""

THE_HARBOUR = """\
A harbour is a place where the sea becomes quiet. Outside it the waves are high and the wind \
does what it likes. Inside, behind a wall of stone or a bend of the coast, the water lies still, \
and a ship can rest.

In the early morning the harbour is the busiest place in the town. The fishing boats come in \
with the light, low in the water if the night was good. Women wait on the steps with baskets. \
Prices are called out, argued over, and settled, and the fish are in the market before the sun \
is hot. Then the big ships begin to move. Cranes lift boxes from the decks and set them down in \
long rows. Each box has a number, and for each number there is a clerk with a list. Tea, coffee, \
cloth, machines, rice, books, shoes: everything is counted when it comes in, and counted again \
when it goes out.

This counting is the secret of a harbour. A harbour does not grow the tea or sew the shoes. What \
it gives is trust. The captain trusts that his cargo will be kept safe. The merchant trusts that \
the number on the list is the number in the store. The town trusts that the fees are fair and \
that everybody pays the same. If the clerk counted badly for only one week, the ships would \
begin to look for another port.

In the evening the cranes stop. The lamps are lit along the pier, and their light lies on the \
water in long yellow lines. Sailors from far away sit beside people who have never left the \
town, and they tell each other stories. Some of the stories are even true. Then the tide turns, \
the ropes are loosened, and one ship after another goes out again, past the wall, to where the \
sea is loud."""

LONG_TEXTS: tuple[LongText, ...] = (
    LongText(
        (
            "Tell me a long story.",
            "Tell me a story.",
            "Write a long story.",
            "Write a story.",
            "Please tell me a story.",
            "I would like to hear a long story.",
            "Tell me a very long story",
            "Write me a long story, please.",
            "Niambie hadithi.",
            "Can you tell me a story?",
        ),
        ("Please write a long story.", "Can you tell me a long story?"),
        (THE_LAMP, THE_GOAT),
    ),
    LongText(
        (
            "Explain how Bandari works in detail.",
            "How does Bandari work?",
            "Explain Bandari in detail.",
            "Tell me everything about Bandari.",
            "Write a long explanation of how Bandari works.",
            "Explain how Bandari works.",
            "Describe in detail how Bandari works.",
            "Tell me in detail how Bandari works.",
        ),
        ("Please explain in detail how Bandari works.", "Describe how Bandari works in detail."),
        (HOW_BANDARI_WORKS,),
    ),
    LongText(
        (
            "Write an essay about a harbour.",
            "Write an essay.",
            "Write a long text about the sea.",
            "Write a long essay about a harbour.",
            "Tell me about life in a harbour.",
            "Write 300 words about a harbour.",
            "Describe a harbour in detail.",
            "Write a long answer.",
            "Write a long text.",
        ),
        ("Please write an essay about a harbour.", "Write a long essay."),
        (THE_HARBOUR,),
    ),
)
