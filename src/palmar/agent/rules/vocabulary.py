"""The words that the rules read: lists by what the words are for. They name no scene and decide nothing."""

from __future__ import annotations

from palmar.sim.things import COLOURS, DESTINATIONS, NOUNS
from palmar.sim.vocabulary import DIRECTIONS, HINTS, VERBS_OF

# ------------------------------------------------------------ commands

OPENING = ("open", "unclose")
"""With the gripper these let go, with a drawer or door they open it."""
LETTING_GO = ("release", "unhand")
"""Commands that open the gripper."""
CLEARING = ("clear", "tidy", "clean")
"""Commands that put every thing away."""
LOOKING = ("look", "see", "inspect")
"""Commands that look at the table again."""
SORTING = ("sort",)
"""Commands that put each thing on the place of its colour."""
MORE = {
    "reach": ("visit", "touch", "aim", "check", "position"),
    "pick": ("clasp", "keep"),
    "place": ("stash", "store", "tuck", "rest", "return", "park", "land", "stick", "pop", "dump", "load"),
    "push": ("send", "run", "knock", "nudge", "press", "drag", "pull", "roll", "propel"),
}
"""Commands that the tasks' own wordings lack."""
OTHERS = (
    "stack", "pour", "insert", "fold", "cut", "throw", "toss", "wipe", "wash", "open", "close", "rotate", "turn", "flip", "break",
    "eat", "paint", "hide", "swap", "exchange", "screw", "unscrew", "plug", "unplug", "write", "draw", "feed", "kick", "spin",
    "shake", "squeeze", "crush", "balance", "build", "assemble", "hand", "give", "hammer", "heat", "cook", "juggle", "tie", "fill",
    "empty", "count", "read", "sing", "dance", "walk", "fly", "jump", "hit", "smash", "bend", "peel", "measure", "weigh",
)  # fmt: skip
"""Commands that may begin a clause and are none of the skills of a policy here."""
COMMANDS = frozenset(
    {v for verbs in VERBS_OF.values() for v in verbs if v not in (*HINTS, "head")}
    | {v for verbs in MORE.values() for v in verbs}
    | {*OPENING, *LETTING_GO, *CLEARING, *LOOKING, *SORTING, *OTHERS, "let", "stop"}
)
"""Every command, in the base form."""
VERBS = {task: (*verbs, *MORE[task]) for task, verbs in VERBS_OF.items()}
"""{task: its commands}, the tasks' own wordings and `MORE`."""
TASK_VERBS = frozenset(v for verbs in VERBS.values() for v in verbs)
"""The commands of all tasks."""
MOVING = ("move", "bring", "get", "go", "take", "carry")
"""With a way these push, with a place they put."""
WITH_A_THING_ALONE = {
    *VERBS_OF["reach"], *VERBS_OF["pick"], *MORE["reach"], *MORE["pick"], *CLEARING, *SORTING, *LETTING_GO,
} - {"move", "bring", "get", "carry", "take"}  # fmt: skip
"""Commands that ask for no more than the thing."""

# ------------------------------------------------------------ marks, and words that join or tell when

STOPS = (",", ";", ".", ":", "!", "?")
"""Punctuation that is a word of its own."""
ENDS = (";", ".", "!", "?")
"""Punctuation that ends a sentence."""
LATER = ("then", "afterwards", "next", "finally", "lastly")
"""At the start of a part these say that it comes after the one before."""
LAST = (["last", "of", "all"], ["at", "the", "end"], ["last", "thing", ","])
"""These say that a part is done when all others are."""
ORDER = {
    "first": 1,
    "firstly": 1,
    "second": 2,
    "secondly": 2,
    "third": 3,
    "thirdly": 3,
    "last": 99,
    "lastly": 99,
    "finally": 99,
}
"""{word: the place in the order of things to do that it says}."""
TIMES = ("once", "when", "after", "before", "as", "until", "so", "with", "because", "since")
"""These begin a part that tells when or why, and not what is."""
COMPLETION = (
    "done", "finished", "finishes", "complete", "completed", "over", "across", "there", "through", "in", "on", "away", "safely",
    "all", "both", "is", "are", "has", "have", "been", "that's", "it's", "they're", "they", "you're", "you've", "you", "arrived",
    "happened", "settled", "moved", "placed",
)  # fmt: skip
"""A part with when, once or after that has these and plain words alone says that what was asked for before is done."""

# ------------------------------------------------------------ what names things, places, persons and numbers

ALL = ("everything", "all", "each", "every", "both", "things", "objects", "items", "pieces")
"""Words for several things at once."""
ANY = ("thing", "things", "object", "objects", "one", "ones", "item", "items", "piece", "pieces", "stuff")
"""Nouns for whatever stands there."""
ANOTHER = ("other", "another", "second", "third", "first", "last")
"""Before "one" or "ones" these mean another thing than the one that was named."""
NUMBERS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "dozen": 12, "pair": 2,
    "couple": 2, "both": 2,
}  # fmt: skip
"""{word: the number that it says}."""
COLOUR_WORDS = ("colour", "color", "colours", "colors", "coloured", "matching", "matches", "match")
"""Words about colours, and none of a colour."""
PAINT = (
    *COLOURS, "orange", "black", "white", "pink", "grey", "gray", "brown", "violet", "cyan", "magenta", "golden",
    "silver",
)  # fmt: skip
"""Colours, those too that no thing of a scene has."""
PLACES = ("place", "places", "destination", "destinations")
"""Nouns for whatever things are put on or in."""
PLACE_NOUNS = {n for shape in DESTINATIONS for n in NOUNS[shape]}
"""Nouns of plates and trays."""
JOBS = ("job", "jobs", "task", "tasks", "step", "steps")
"""Nouns that a number may count and that name no thing."""
HAND = ("gripper", "hand", "fingers")
"""Nouns of the gripper."""
PERSONS = ("you", "we", "i", "he", "she", "they", "anyone", "someone", "somebody")
"""Who may do something beside the robot."""
NAMES = {
    *(n for names in NOUNS.values() for n in names), *ANY, *ALL, "it", "this", "that", "which", "robot", "gripper", "arm", "hand",
}  # fmt: skip
"""Words after which "can" and a verb are no name of a thing."""
SUBJECTS = (
    "the", "a", "an", "my", "your", "its", "it's", "that's", "they're", "these", "those", "you've", "you're", "done", "told",
    "ready", "finished",
)  # fmt: skip
"""What may follow "once" and "when" where they begin a clause, beside names and persons."""
STANDING_FOR = (
    "it", "they", "one", "ones", "both", "all", "each", "everything", "thing", "things", "object", "objects", "this",
    "that", "something", "robot", "arm", "gripper", "hand", "fingers",
)  # fmt: skip
"""Words that stand for a thing or for the robot."""
DETERMINERS = (
    "the", "a", "an", "that", "this", "my", "your", "it", "them", "both", "each", "every", "everything", "all",
)  # fmt: skip
"""These begin the name of a thing, or stand for one."""
OWNERS = ("robot's", "gripper's", "arm's", "hand's", "table's")
"""The robot's left is the left of directions; a thing's or a person's is not."""

# ------------------------------------------------------------ where, and which way

WAYS = {**{d: d for d in DIRECTIONS}, "forwards": "forward", "ahead": "forward", "away": "forward"}
"""{word: the direction that it says}."""
OF_A_THING = (["of", "the"], ["of", "a"], ["of", "it"], ["of", "that"])
"""Behind "left" or "right" these say where a thing stands, and not which way it goes."""
BESIDE = (
    "with", "past", "after", "from", "by", "using", "against", "near", "around", "behind", "beyond", "along", "toward", "towards",
    "at", "like", "via", "opposite", "off",
)  # fmt: skip
"""Before a second thing: it is not one of those that are moved."""
OVER = ("over", "above", "across", "through")
"""Before a thing: the gripper goes over it, and nothing else does."""
FROM = ("from", "near", "close", "beyond", "where", "front", "around", "against", "opposite", "nearest")
"""These say where something is or comes from, which no plan reads."""
BACK = ("back", "backwards", "backward", "closer")
"""Ways back, which no push goes."""
ROOM = ("off", "behind")
"""Before a place these mean somewhere else than on it."""
WHERE = (
    "on", "in", "onto", "into", "left", "right", "forward", "over", "past", "beyond", "above", "under", "at", "off",
)  # fmt: skip
"""Behind a thing's "'s" these tell where it is."""
SAYS_WHERE = (
    "towards", "toward", "from", "near", "behind", "front", "beyond", "past", "across", "along", "above", "over", "middle",
    "nearest", "closest", "farthest", "furthest", "further", "far", "high", "air", "somewhere", "anywhere", "aside", "side",
    "edge", "alone", "table",
)  # fmt: skip
"""Of the words that name no thing: these say where, and a part that has one is not dropped."""
RETURNING = ("back", "again", "down", "up", "off", "out", "over", "around", "aside", "backwards", "way", "home", "on")
"""In a part without a command or a name these ask for more than what was said before."""
BEFORE_A_PLACE = ("on", "in", "onto", "into", "to", "inside", "within", "upon", "and", ",", ":", "for", "with")
"""Before a place: a thing is put on or in it."""

# ------------------------------------------------------------ what changes nothing

POLITE = (
    "please", "now", "also", "just", "robot", "kindly", "ok", "okay", "well", "thanks",
    "finally", "lastly", "next", "first", "second", "third", "secondly", "thirdly", "firstly", "afterwards", "immediately",
    "simply", "to", "i", "you", "want", "need", "would", "could", "will", "like", "us", "me", "so", "go", "ahead", "try",
    "then", "and", "start", "begin", "by", "must", "should", "we", "have", "let's", "lets", "we'd", "i'd", "once", "done", "that's",
    "again", "it's", "only", "last", "of", "all", "follow", "up", "finish", "end", "with", "that", "this", "anything",
    "else", "everything", "other", "jobs", "three", "two", "one", "another", "four", "five", "there", "are",
)  # fmt: skip
"""What may stand before a command and changes nothing."""
IDLE = (
    "only", "single", "small", "little", "big", "whole", "full", "same", "right", "left", "very", "shift", "side",
    "camera", "moment", "while", "time", "turn", "turns", "order", "job", "jobs", "way", "end", "step", "steps",
    "tour", "rest", "second", "minute", "case", "go", "row", "robot", "goal", "task",
    "tasks", "line", "lines", "edge",
)  # fmt: skip
"""Nouns that name no thing: "for a moment", "in this order"."""
FILLERS = (
    "both", "each", "every", "ones", "off", "upon", "inside", "within", "held", "sitting", "resting", "ready",
    "nicely", "straight", "safely", "all", "any", "something", "whole", "handle", "raised",
    "lifted", "way", "ends", "ended", "been", "gripping", "grip", "hold", "holding", "kept", "stay", "stays", "there",
    "has", "come", "comes", "belong", "too", "as", "starting", "finishing", "carry", "continue", "while",
    "time", "away", "out", "closed", "open", "gets", "get", "does", "do", "reach", "point", "position", "yourself",
    "sure", "make", "place", "top", "remaining", "lies", "ok", "right", "hand", "either", "my", "you've",
    "i've",
)  # fmt: skip
"""Words that say nothing that changes what is asked."""
SMALL = (
    "the", "a", "an", "that", "this", "those", "these", "on", "in", "into", "onto", "to", "of", "up", "down", "off", "over",
    "at", "it", "them", "its", "their", "there", "here", "left", "right", "forward", "forwards", "ahead", "away", "towards",
    "toward", "until", "as", "far", "is", "are", "and", "with", "for", "from", "side", "table", "line", "across", "past",
    "beyond", "gripper", "hand", "arm", "fingers", "robot", "front", "behind", "nearest", "closest", "farthest", "furthest",
    "leftmost", "rightmost", "other", "remaining", "instead", "which", "who", "lies", "lying", "stands", "standing", "sits",
    "sitting", "me", "you", "i", "please", "now", "back", "high", "air", "above", "middle", "further", "some", "else",
    "except", "but", "along", "by", "pushing", "go", "your", "own", "same", *COLOUR_WORDS, "next", "near", "then",
    "again", "alone", "out", "painted", "place", "places", "so", "lay", "somewhere", "anywhere", "aside", "be", "not",
)  # fmt: skip
"""Words that name no thing."""
PLAIN = {*POLITE, *FILLERS, *IDLE, *SMALL, *ANY} - {*NUMBERS, *SAYS_WHERE}
"""A part of these alone asks for nothing: "last of all", "in this order"."""
ASKING_NOTHING = (
    "wherever", "whatever", "whichever", "they", "fit", "fits", "long", "thank", "cheers", "hello", "hi", "hey", "good", "morning",
    "evening", "great", "yes", "alright",
)  # fmt: skip
"""A part of these and plain words leaves something open or is polite: "wherever they fit", "thank you"."""
ADVERBS = (
    "then", "and", "now", "also", "just", "first", "next", "finally", "lastly", "please", "ok", "okay", "robot",
    "again", "only", "already", "really", "always", "once", "second", "third",
)  # fmt: skip
"""What may stand before a subject or after it and changes nothing."""
WITH_THE_HAND = (
    "the", "a", "an", "your", "its", "this", "that", "of", "go", "up", "now", "please", "then", "again", "and", "it", "them", "at",
    "table", "scene", "once", "more", "robot", "everything", "all", "around", "also", "first", "next", "finally", "lastly",
    "you", "could", "would", "will", "can", "thing", "things", "what", "have",
)  # fmt: skip
"""Words that may stand beside "open the gripper", "let go" and "look" and ask for nothing more."""
BEFORE_A_NAME = {
    "the", "a", "an", "that", "this", "these", "those", "other", "remaining", "its", "their", "your", "my", "own", "some", "any",
    "either", "one", "matching", "nearest", "closest", "farthest", "furthest", "leftmost", "rightmost",
    *ALL, *NUMBERS, *PAINT, *IDLE,
}  # fmt: skip
"""What may stand between a preposition and the noun."""

# ------------------------------------------------------------ questions, statements and wishes

ASKS = (
    "why", "how", "what", "which", "who", "where", "is", "are", "was", "were", "did", "do", "does", "has", "should",
    "shall", "may", "might", "had", "could", "would", "will", "must",
)  # fmt: skip
"""A sentence that begins with one of these asks, and so does one that ends with "?"."""
REQUESTS = ("could", "would", "will")
"""With "you" these ask the robot to do something; `words_of` writes "could" for "can"."""
ASKED_OF = ("is", "are", "was", "were", "do", "does", "did", "how", "why", "may", "might", "shall")
"""After a comma these ask about what was said: "push the ball left, is that ok"."""
OPENERS = ("robot", "please", ",", ":", "and", "ok", "okay", "now", "then", "so", "hey", "well", "also")
"""What may stand before the first word of a question."""
WISHES = ("want", "wants", "need", "needs", "like", "love", "prefer", "wish")
"""Verbs of who wants something."""
WISHING = (*WISHES, "i'd", "we'd", "let's", "have", "get", "should", "must", "sure", "see")
"""After these "the ball pushed left" is what is wanted, and not what was."""
WOULD = ("will", "would", "could", "might", "does", "did")
"""After a thing these tell of it: "the cube would go on the plate"."""
MODALS = ("should", "could", "would", "must", "might", "may")
"""Before "have" and a past form these tell what did not happen."""
BEING = (
    "is", "are", "was", "were", "sits", "sit", "lies", "stands", "rests", "hangs", "has", "have", "had", "remains", "ended",
    "stays",
)  # fmt: skip
"""Verbs that tell how a thing is."""
SHORT = ("it's", "that's", "there's", "here's", "this's")
"""Short forms that tell what is."""
POINTING = ("there", "here", "this", "that", "these", "those", *SHORT)
"""Words that point at a thing and tell of it."""
PASSIVE = (
    "belongs", "belong", "should", "goes", "go", "have", "has", "need", "needs", "is", "are", "must", "sits", "end",
    "ends", "i'd", "want",
)  # fmt: skip
"""In a part without a command these say what ought to become of a thing."""

# ------------------------------------------------------------ what is refused

CONDITIONS = ("if", "unless", "whenever", "while", "or", "whether", "until")
"""These make an instruction depend on something."""
IN_CASE = (["in", "case"], ["as", "long", "as"], ["so", "long", "as"])
"""As `CONDITIONS`, of several words."""
LEFT_OUT = (
    ["except"],
    ["without"],
    ["besides"],
    ["excluding"],
    ["apart", "from"],
    ["other", "than"],
    ["rather", "than"],
    ["in", "place", "of"],
    ["leave", "out"],
    ["all", "but"],
    ["everything", "but"],
    ["both", "but"],
)
"""Words that leave a thing out."""
PUNCTUATION = ".,;:!?'’‘\"“”„«»()-–—…"
"""Marks that may stand between words; every other symbol is refused."""
MANNER = (
    "slowly", "slow", "slower", "quickly", "quick", "quicker", "fast", "faster", "rapidly", "swiftly", "gently", "gentle", "softly",
    "carefully", "careful", "cautiously", "delicately", "lightly", "firmly", "hard", "harder", "strongly", "tightly", "loosely",
    "roughly", "smoothly", "steadily", "gradually", "slightly", "barely", "hardly", "partly", "partially", "partway", "halfway",
    "nearly", "almost", "nicely", "neatly", "safely", "quietly", "calmly", "bit", "lot", "high", "further", "farther",
)  # fmt: skip
"""How fast, how hard or how far: a skill has no such argument."""
STRETCHES = ("step", "steps", "way", "touch", "turn", "turns", "tad", "inch")
"""With "a" or "small" before them these say how far."""
SPANS = ("second", "minute", "moment", "while", "hour", "day")
"""With "in a" before them these say when, by the clock."""
REPEATING = ("again", "repeat", "redo", "same", "more")
"""A text of one of these and plain words asks for what was said before it."""
DISREGARDING = (
    "ignore", "ignoring", "disregard", "disregarding", "disable", "disabling", "override", "overriding", "bypass", "bypassing",
    "circumvent", "deactivate", "deactivating", "limit", "limits", "limiter", "guard", "guards", "safety",
)  # fmt: skip
"""No instruction changes a limit, so one that speaks of them is not carried out in part."""
KEEPING = ("keep", "stay", "stays", "steer", "stand", "hold")
"""Verbs that, with one of `APART`, say to leave a thing as it is."""
APART = ("off", "clear", "away", "back", "out", "still", "be")
"""See `KEEPING`."""
