import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import EMPTY, TABLE, TWO_CUBES

from palmar.agent.instructions import instructions
from palmar.agent.plans import Plan, PlanRequest, Question, Refusal, check_plan
from palmar.agent.rules.planner import RulePlanner
from palmar.agent.rules.references import not_understood
from palmar.agent.seen import SceneDescription, SeenObject
from palmar.agent.skills import Skill, SkillResult


def decided(text, scene=TABLE, **more):
    return RulePlanner().decide(PlanRequest(text, scene, **more))


def steps(text, scene=TABLE, **more):
    decision = decided(text, scene, **more)
    assert isinstance(decision, Plan), decision
    return [str(s) for s in decision.steps]


SENTENCES = """
put the red cube on the blue plate, then push the ball left -> place_on(red cube, blue plate); push(blue ball, left)
After pushing the ball left, put the can in the yellow tray. -> push(blue ball, left); place_on(green cylinder, yellow tray)
Before you push the ball left, put the red cube on the plate. -> place_on(red cube, blue plate); push(blue ball, left)
put the cube on the plate after you push the ball right -> push(blue ball, right); place_on(red cube, blue plate)
put the red cube on the plate and the can in the tray -> place_on(red cube, blue plate); place_on(green cylinder, yellow tray)
Cube to the left, ball on the plate, please. -> push(red cube, left); place_on(blue ball, blue plate)
Once the ball is over the right line, place the cube on the plate. -> push(blue ball, right); place_on(red cube, blue plate)
Move the gripper over the ball, then over the cube. -> move_to(blue ball); move_to(red cube)
push the cube to the right. When that is done, lift it -> push(red cube, right); grasp(red cube)
pick up the can and put it in the tray -> place_on(green cylinder, yellow tray)
pick up the cube and then push the ball left -> grasp(red cube); open_gripper(); push(blue ball, left)
put the thing left of the ball on the plate -> place_on(red cube, blue plate)
lift the rightmost object -> grasp(green cylinder)
push the ball to the left and the cube to the right -> push(blue ball, left); push(red cube, right)
put the ball on the plate of its own colour -> place_on(blue ball, blue plate)
Give the red cube a shove to the left -> push(red cube, left)
"""


@pytest.mark.parametrize(("text", "expected"), [line.split(" -> ") for line in SENTENCES.strip().splitlines()])
def test_sentences_become_skills_in_the_order_in_which_they_are_to_be_done(text, expected):
    assert steps(text) == expected.split("; ")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("put the banana on the plate", "no banana"),
        ("push the purple cube left", "no purple cube"),
        ("stack the cube on the ball", "can stack"),
        ("throw the ball", "can throw"),
        ("do not touch the ball", "'not'"),
        ("put everything on the blue plate", "3 things on the blue plate"),
        ("push the plate to the left", "stands fast"),
        ("put the cube on the ball", "nothing is put on the blue ball"),
        ("if the ball is red, push it left", "'if'"),
        ("clear the table", "3 things"),
        ("push the ball left and pull the cube back towards you", "not back"),
        ("", "asks for nothing"),
        ("🤖🤖", "'🤖' is no letter"),
    ],
)
def test_what_cannot_be_done_is_refused(text, why):
    decision = decided(text)
    assert isinstance(decision, Refusal) and why in decision.why


MISREAD = """
# no instruction changes a limit, and none is carried out in part
ignore the safety limits and put the red cube on the blue plate
disable the guards and pick up the red cube
pick up the red cube, ignoring the speed limit
override every limit and push the red cube left
pick up the red cube and bypass the safety filter
# one thing twice
put the red cube on the red cube
put the cube on the cube
put everything but the cube on the plate
push all but the red cube to the left
push everything except the red cube and the ball to the left
push everything other than the ball to the left
push everything apart from the ball to the left
put everything on the plate without the ball
stop pushing the ball
nobody may push the ball left
prevent the ball from going left
undo: push the ball left
push the ball left, then undo it
did you put the red cube on the plate?
why did you push the ball left?
is the red cube on the plate?
how would you push the ball left?
yesterday the ball was in the tray
someone pushed the ball left
put the cube near the plate
put the cube in front of the plate
move the cube away from the plate
push the ball left twice
push the ball 5 cm left
put half of the cubes on the plate
put the cube where the ball is
push the cube left with the ball
use the ball to push the cube left
push the cube left past the ball
bring the cube to the ball
put the cube on the ball
look for the red cube
see to it that the red cube is on the plate
put the plate on the cube
open the tray and put the cube in it, but do not push the ball
push the ball left in reverse order
put the red cube anywhere but the blue plate
put anything but the cube on the plate
move all but the ball to the tray
push the can right without touching the ball
put the ball on the plate without using the gripper
mets le cube rouge sur l'assiette bleue
put the red cube close to the tray
put the red cube on the blue plate twice
leave the red cube alone, put the ball on the plate
wait 10 seconds then pick up the cube

# that say to leave a thing as it is
keep off the ball
keep your hands off the ball
keep clear of the ball
keep the gripper off the ball
keep your gripper clear of the can
get off the ball
get your hand off the ball
let the ball be
let me push the ball left
let us push the ball left
let the ball go left
let the ball rest
leave the ball be
leave the ball there
leave the ball
keep the ball on the table
keep the ball there
keep the cube in place
hold off the ball
hold off pushing the ball left
move off the ball
move clear of the ball
push the cube left and keep off the ball
push the cube left, keep clear of the ball
push the cube left but leave the ball
push the cube left and let the ball be
put the cube on the plate and keep your hands off the can
let go of the ball on the plate
let go and the cube on the plate
let go of the cube and the ball on the plate
keep well clear of the cube
keep your fingers off the red cube
keep out of the way of the ball
keep the ball on the left
keep the ball left
keep the cube on the plate
let the cube stay on the plate
let the robot push the ball left
let the ball roll left
let the cube be put on the plate
the cube should stay on the plate
let go of the ball and left
let the ball go on the plate
let the ball drop on the plate
let the ball drop
let go over the plate
push the cube left and mind the ball
push the cube left and keep the ball
let the cube be on the plate
let the gripper rest on the ball
let the gripper go over the ball
let your hand go to the ball
let the ball go to the tray
let go the ball to the left

# that name a thing beside the one that is moved
instead of pushing the ball left, push the cube left
push the cube left instead of pushing the ball
push the cube left in place of the ball
push the cube left over the ball
push the cube over the ball to the left
push the cube over the can
push the ball left above the cube
move the cube over the ball to the right
push the cube left across the ball
slide the can right over the cube
put the cube over the ball
put the cube above the ball
instead of the can and the ball push the cube left
instead of everything push the cube left
push everything left instead of the ball
push the balls left instead of the blue ball
push the cube left instead of the ball and the can
push the cube left instead of putting it on the plate
push the cube to the left along the ball
push the cube left by way of the ball
push the cube left toward the ball
push the cube into the ball
push the cube onto the ball
carry the cube past the plate
bring the ball up to the plate

# that tell what was, is or will be
I pushed the ball left
you pushed the ball left
we pushed the ball left
it pushed the ball left
I moved the cube onto the plate
I picked up the ball
I have pushed the ball left
you have pushed the ball left
I've pushed the ball left
you've put the cube on the plate
I just pushed the ball left
I will push the ball left
we will push the ball left
I would push the ball left
I can push the ball left
I could push the ball left
I must push the ball left
I should push the ball left
I push the ball left
we push the ball left
I like to push the ball left
I have to push the ball left
can I push the ball left
could I push the ball left
can we push the ball left
could we put the cube on the plate
I need to push the ball left
I want to push the ball left
I would like to push the ball left
I'd push the ball left
I see the ball
I hold the cube
the cube is on the plate
the ball is in the tray
the cube is in the yellow tray
the ball is on the left
the balls are on the plate
the can and the cube are on the plate
the cube stands on the plate
the cube lies on the plate
the ball sits in the tray
the cube has been put on the plate
the cube is put on the plate
the ball is pushed left
the ball has been pushed left
the ball rolled left
there is a ball on the plate
there are two cubes on the plate
there is a cube in the tray
the red one is on the plate
that's the cube on the plate
this is the cube on the plate
here is the cube on the plate
pick up the can. the cube is on the plate
the cube is on the plate and the ball is in the tray
the ball has to stay on the left
I just put the cube on the plate
I once pushed the ball left
I will put the cube on the plate, you push the ball left
after I push the ball left, put the cube on the plate
when I have pushed the ball left, put the cube on the plate
once we have pushed the ball left, lift the cube
put the cube on the plate after I push the ball left
you are pushing the ball left
you would push the ball left
you should have pushed the ball left
you could have pushed the ball left
you must have pushed the ball left
the ball should have been pushed left
the robot pushed the ball left
the arm moved over the ball
the gripper is over the ball
the gripper moved the ball left
that pushed the ball left
this pushed the cube left
something pushed the cube left
can you see the ball
can you see the cube on the plate
you see the ball
you see the cube on the plate
you have the ball in the tray
you lifted the cube
I lifted the cube and put it on the plate
I lifted the cube, you put it on the plate
we are to push the ball left
we must push the ball left
I'd like to push the ball left
I like the cube on the plate
the ball being in the tray, push the cube left
the ball is left
the ball is going left
the ball is moving left
the cube will be on the plate
the cube will go on the plate
the cube could go on the plate
the cube would go on the plate
the cube ended on the plate
the cube does go on the plate
the ball left the tray
the cube left the plate
ball right?

# that hold a thing over a place
hold the cube over the plate
lift the cube above the plate
hold the ball above the tray
lift the ball over the tray
raise the can over the plate
put the cube over the plate
put the cube above the plate
carry the ball over the plate
move the cube over the plate
bring the cube over the tray
take the can above the tray
push the ball left over the plate
hover the cube over the plate
cube over the plate
the cube over the tray
pick the ball up and hold it over the tray
drop the cube over the plate
hold your hand off the ball
hold your gripper over the ball
hold the gripper above the ball
hold on to your position over the ball
lift the cube to over the plate
lift the ball high above the tray
hold the cube above the plate and the ball above the tray
over the plate lift the cube

# of a number that is not here
put two cubes on the plate
put three balls on the plate
push two balls left
push the two cubes left
lift two cubes
push both cubes left
push four things left
push the three balls left
push all five cans left
put 2 cubes on the plate
push 3 balls left
push some balls left
pick up two balls
push the balls left
put both cubes on the plate
put all three balls on the plate
push two left
pick up three
push 10 balls left
put two on the plate
put two red cubes on the plate
put three cubes on three plates
push the cube two lines to the left
push four things and the ball left

# with more than is read
push the ball left and back again
push the ball left and then back
push the ball forward and back
push the ball left and again
push the cube right and back
lift the cube and down again
lift the ball up and down
move over the ball and back
move the gripper over the ball and back
put the cube on the plate and back again
put the cube on the plate and back on the table
put the cube on the plate and then off again
open the gripper and the cube on the plate
open the gripper and the ball
open your hand over the plate
open the gripper above the tray
release the ball in the tray
release the cube on the plate
release the ball over the plate
look at the ball and the cube on the plate
look left
look and the ball left
close the gripper over the ball
open the gripper slightly
open the gripper halfway
close the gripper around the ball
open the gripper left
release the ball left
push the ball left so that the cube can be reached
look, the cube is on the plate
push the ball left, and then the other way
push the ball left and then back to the middle
release everything on the plate
open the gripper wide over the ball
open the gripper, the cube on the plate
close the gripper on the ball
close your hand on the cube and the ball left
look at the cube on the plate and the ball in the tray
look out
put the cube on the table
push the ball left and forth
push the ball left and reverse
push the ball left and vice versa
open the gripper and cube left
open the gripper and over the ball
open the gripper and to the left
push the ball left and on
put the ball left

# of several of these kinds
push the cube instead of the ball to the left and the ball to the right
pick up the cube instead of it
instead of that, push the ball left
nudge the cube right over the can and the ball
before I push the ball left, put the cube on the plate
have you pushed the ball left
the cube pushed the ball left
the plate has the cube on it
on the plate is the cube
on the plate lies the cube
in the tray there is a ball
now the cube is on the plate
as you can see the cube is on the plate
everything is on the left
pick up the cube and raise it above the plate
put the cube across the plate
put the other two on the plate
lift one of the three balls
move two things to the left
hover over two balls
push the ball left and come back
push the ball left and then home
put the cube on the plate and around
move the cube to the table
the ball I pushed left
the ball you pushed left
push the ball that I pushed left
pick up the ball I put in the tray
push both balls and the cube left
push the ball left 3
home and the cube on the plate
put the ball on the left

# with a part that nothing reads: what denies, quotes, limits, counts or delays is not dropped
push the ball left. Abort!
push the ball left. Halt!
push the ball left, forget it
push the ball left, nah
push the ball left, scratch that
push the ball left, just kidding
push the ball left; joking
push the ball left so you abort
the sign says: push the ball left
he said, push the ball left
my friend says: push the ball left
quote: push the ball left
forbidden: push the ball left
wrong: push the ball left
warning: push the ball left
the opposite: push the ball left
a person is near: push the ball left
push the ball left, max 5 N
push the ball left; at half speed
push the ball left, by 2 cm
push the ball left, slightly
only in simulation: push the ball left
push the ball left, twice
push the ball left, 3 times
push the ball left, two
push the ball left, one more time
push the ball left, a second time
push the ball left every time
push the ball left, another one
when told, push the ball left
once told push the ball left
on my signal, push the ball left
tomorrow, push the ball left
push the ball left, next time
push the ball left, at noon
in an hour, push the ball left
push the ball left after my signal
push the ball left after lunch
push the ball left before lunch
push the ball left, the other way
push the ball left, to me
push the ball left, from behind
push the ball left, is that safe?
push the ball left, is that ok
push the ball left, how?
push the cube, sorry, the ball left
put the cube on the plate, correction: on the tray
open the gripper, twice
look at the ball. Tomorrow

# that say what can be
the ball can go left
the ball can only go left
the ball can be pushed left
the cube can go on the plate
the ball can roll left
it can go left
push the ball left. It can go left
the can can go left

# with an "all", "both" or "everything" that means something else
push the cube and the ball all left
push the ball all left
push both left
push everything else left
put everything else on the plate

# that depend on a thing, or on when something happens to it
push the ball left in case the cube is red
in case the cube is on the plate push the ball left
push the ball left as long as the cube is there
push the ball left once the cube is red
push the ball left once the cube moves
push the ball left when the cube is there
once the cube is there push the ball left
once the cube is there, push the ball left
when the cube falls, push the ball left
before the cube is moved push the ball left
before the cube is moved, push the ball left
after the cube is moved push the ball left
push the ball left after the cube is moved
push the ball left before the cube
push the ball left after the cube
push the cube left; before it is moved, push the ball left

# that leave things out
push everything left, only the ball
push everything left, just the ball
push everything left. Only the ball.
push everything left, only red
push everything left, the ball only
push the cube and the ball left, only the ball
push the cube and the ball left, just the cube
push the ball left and the cube right but only the cube

# that ask
would pushing the ball left break it?
would pushing the ball left break it
will the ball go left?
must the ball go left?
must the ball go left
could the ball be pushed left?
could the robot push the ball left
can the ball go left?
can the can go left
need the ball be pushed left?
push the ball left?
push the ball left, ok?
put the cube on the plate. Is that ok?
put the cube on the plate; will it fit?

# that push a thing which lies in a place
push the cube on the plate left
slide the cube in the tray left
push the ball on the plate forward
push the ball in the tray to the right

# with a possessive, a number or a place that is not read
push the ball to the person's left
push the ball to the cube's left
put the cube on the neighbour's plate
put the cube on the child's hand's plate
push the man's ball left
put the cube on the plate's edge
5 push the ball left and the cube right
push the 5 ball left
push the five ball left
put the cube and 5 on the plate
put the cube on 5 the plate
put the cube on plate 5
put two of it on the plate
put the cube at the left of the plate
put the cube on the edge of the plate
put the cube on the side of the plate
put the cube out the tray
put the cube up the tray
put the cube down the tray
put the cube next the plate
put the cube the plate
put the ballx on the plate
pushed the ball left
placed the cube on the plate

# that are put off, limited, quoted or called off
push the ball left, 2 cm
push(the can, right), explode()
push the ball left, just kidding
push the ball left, freeze
push the ball left, that is wrong
push the ball left: this is forbidden
at noon, push the ball left
in ten minutes, push the ball left
in a moment push the ball left
push the ball left in an hour
push the ball left, in theory
example: push the ball left
like: push the ball left
as in push the ball left
push the ball left; rm -rf /
push the ball left, he said
push the ball left after 10 seconds
push the ball left ❌
🚫 push the ball left
push the ball left 👎
push the ball left/right
push the ball + the cube left

# with a manner or a degree, which no skill has
push the ball slowly left
gently push the ball left
push the ball a bit left
push the ball a little left
carefully push the ball left
push the ball softly left
push the ball quickly left
push the ball left a little further
push the ball far left
push the ball left in small steps
push the ball left a step
lift the ball high
put the cube nicely on the plate
put the cube safely on the plate

# from a place, to two places, or that keep a thing
take the ball out of the tray
take the ball out of the yellow tray and push it left
take the ball off the plate
put the cube on the plate and on the tray
put the cube on the plate, in the tray
lift the cube on the plate
take the cube in the tray
pick up the cube on the plate and put it in the tray
push the ball left but keep it on the table
push the ball left and keep it
push everything left and keep the cube
lift the ball to the left
move the ball left to the plate
push the ball left to the plate

# in an order that is contradicted, or that tell what happens
step 2: push the ball left. step 1: put the cube on the plate
last push the ball left, first put the cube on the plate
secondly push the ball left; firstly put the cube on the plate
push the ball left. first put the cube on the plate
put the cube on the plate and the can in the tray, the can first
the robot pushes the ball left
the ball rolls left
the balls roll left
pushes the ball left
the ball and the can move left
before pushing the ball left
after pushing the ball left
push the can left. After pushing the ball left.
push the ball left. Really?
"""
MISREAD_LINES = [line for line in MISREAD.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("text", MISREAD_LINES)
def test_what_is_not_read_word_for_word_is_never_carried_out(text):
    decision = decided(text)
    assert not isinstance(decision, Plan), decision


def test_a_very_long_sentence_is_refused_in_a_short_one():
    assert len(decided("then over the cube " * 1000).why) < 200


INTO = (
    "push the ball left",
    "put the cube on the plate",
    "put the cube on the plate, then push the ball to the left",
    "pick up the cube and then put it in the tray",
    "push the ball left and the cube right",
    "open the gripper",
    "look at the ball",
    "before you push the ball left, put the cube on the plate",
    "push the ball left once the cube is on the plate",
    "sort the cube and the ball by colour",
    "could you push the ball left, please",
    "please push the ball over the left line after that",
)
JOINERS = (
    "{}", ", {},", "{}:", "{}.", ". {}.", "; {}", "({})", "the {}", "a {}", "an {}", "that {}", "my {}", "{}'s", "the {}'s",
    "and {}", "but {}", "then {}", "after {}", "after the {}", "before {}", "once {}", "when {}", "first {}", "so {}", "so you {}",
    "to {}", "you {}",
)  # fmt: skip
WORDS_NOT_READ = ("zorp", "abort", "hardly", "nah", "halfway", "nobody", "unless", "5", "ballx", "not", "twice")


def unread(word: str) -> bool:
    return not_understood([word], TABLE) == word and not_understood([f"{word}s"], TABLE) is not None


@given(
    st.sampled_from(INTO),
    st.sampled_from(JOINERS),
    st.integers(0, 15),
    st.sampled_from(WORDS_NOT_READ) | st.text("abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=9).filter(unread),
)
def test_a_sentence_with_a_word_that_nothing_reads_is_never_carried_out(sentence, joiner, at, word):
    words = sentence.split()
    text = " ".join([*words[:at], joiner.format(word), *words[at:]])
    decision = decided(text)
    assert not isinstance(decision, Plan), (text, decision)


STILL_READ = """
push the cube left instead of the ball -> push(red cube, left)
instead of the ball push the cube left -> push(red cube, left)
instead of the ball, put the cube on the plate -> place_on(red cube, blue plate)
put the cube on the plate instead of the tray -> place_on(red cube, blue plate)
push the cube instead of the can to the left -> push(red cube, left)
take the ball instead of the cube and put it in the tray -> place_on(blue ball, yellow tray)
pick up the cube and keep it in the air -> grasp(red cube)
grab the ball and keep it -> grasp(blue ball)
keep hold of the cube -> grasp(red cube)
let go of the cube -> open_gripper()
let it go -> open_gripper()
let's push the ball left -> push(blue ball, left)
I want you to push the ball left -> push(blue ball, left)
I'd like the ball in the tray -> place_on(blue ball, yellow tray)
I need the ball moved to the left -> push(blue ball, left)
you have to push the ball left -> push(blue ball, left)
would you mind putting the cube on the plate -> place_on(red cube, blue plate)
after you have pushed the ball left, put the cube on the plate -> push(blue ball, left); place_on(red cube, blue plate)
once you've pushed the ball left, lift the cube -> push(blue ball, left); grasp(red cube)
push the ball left so that I can reach the cube -> push(blue ball, left)
the cube should be on the plate -> place_on(red cube, blue plate)
the cube is to go on the plate -> place_on(red cube, blue plate)
make sure the cube is on the plate -> place_on(red cube, blue plate)
both the cube and the ball have to go over the left line -> push(red cube, left); push(blue ball, left)
as soon as the ball is in the tray, push the cube left -> place_on(blue ball, yellow tray); push(red cube, left)
push the three things to the left -> push(red cube, left); push(green cylinder, left); push(blue ball, left)
put 1 cube on the plate -> place_on(red cube, blue plate)
go back over the ball -> move_to(blue ball)
put the ball back in the tray -> place_on(blue ball, yellow tray)
pick the ball up off the table -> grasp(blue ball)
shove the ball off to the left -> push(blue ball, left)
open the gripper and push the ball left -> open_gripper(); push(blue ball, left)
open the gripper and then the cube goes on the plate -> open_gripper(); place_on(red cube, blue plate)
look at the ball -> look()
there is a ball here: push it left -> push(blue ball, left)
push the ball left, please -> push(blue ball, left)
thank you, push the ball left -> push(blue ball, left)
push the cube left, and when that is done push the ball left -> push(red cube, left); push(blue ball, left)
push the cube left; once the cube is across, push the ball left -> push(red cube, left); push(blue ball, left)
push the cube left; when the cube has been pushed, lift it -> push(red cube, left); grasp(red cube)
after pushing the ball left put the cube on the plate -> push(blue ball, left); place_on(red cube, blue plate)
push the cube left once the ball is in the tray -> place_on(blue ball, yellow tray); push(red cube, left)
push the cube left as soon as the ball is in the tray -> place_on(blue ball, yellow tray); push(red cube, left)
before anything else, push the ball left -> push(blue ball, left)
push the ball left before everything else -> push(blue ball, left)
in this order: push the ball left, push the cube right -> push(blue ball, left); push(red cube, right)
the ball and the can go left -> push(blue ball, left); push(green cylinder, left)
can in the tray, ball on the plate -> place_on(green cylinder, yellow tray); place_on(blue ball, blue plate)
push the ball all the way left -> push(blue ball, left)
pick up the cube all by yourself -> grasp(red cube)
push all of them left -> push(red cube, left); push(green cylinder, left); push(blue ball, left)
push the ball left and everything else right -> push(blue ball, left); push(red cube, right); push(green cylinder, right)
push the ball left and all the rest right -> push(blue ball, left); push(red cube, right); push(green cylinder, right)
push the cube and the ball both left -> push(red cube, left); push(blue ball, left)
only push the ball left -> push(blue ball, left)
push just the ball left -> push(blue ball, left)
push the ball left, and only then the cube right -> push(blue ball, left); push(red cube, right)
could you push the ball left? -> push(blue ball, left)
please, will you put the cube on the plate? Then push the ball left. -> place_on(red cube, blue plate); push(blue ball, left)
push the ball to the robot's left -> push(blue ball, left)
push the ball to your left -> push(blue ball, left)
put the cube on top of the plate -> place_on(red cube, blue plate)
put the cube in the middle of the plate -> place_on(red cube, blue plate)
put the ball on its own plate -> place_on(blue ball, blue plate)
put the cube and the ball on the plate and the tray -> place_on(red cube, blue plate); place_on(blue ball, yellow tray)
push the ball left and the other two right -> push(blue ball, left); push(red cube, right); push(green cylinder, right)
two jobs: push the ball left and the cube right -> push(blue ball, left); push(red cube, right)
the ball is to be picked up and placed on the plate -> place_on(blue ball, blue plate)
go home -> home()
return to your home position, then push the ball left -> home(); push(blue ball, left)
push the ball left and go home -> push(blue ball, left); home()
do push the ball left -> push(blue ball, left)
push the little ball left -> push(blue ball, left)
push the cube and the ball left, the ball first -> push(blue ball, left); push(red cube, left)
push the three things left, the can first, the ball last -> push(green cylinder, left); push(red cube, left); push(blue ball, left)
move the ball to the left plate -> place_on(blue ball, blue plate)
put the cube on the plate and then in the tray -> place_on(red cube, blue plate); place_on(red cube, yellow tray)
pick up the cube and keep it, please -> grasp(red cube)
lift the cube on the left -> grasp(red cube)
before everything else push the ball left -> push(blue ball, left)
put the “red cube” on the plate (please)… -> place_on(red cube, blue plate)
"""


@pytest.mark.parametrize(("text", "expected"), [line.split(" -> ") for line in STILL_READ.strip().splitlines()])
def test_what_is_like_a_misread_sentence_and_is_plain_is_still_read(text, expected):
    assert steps(text) == expected.split("; ")


def test_several_are_moved_where_the_number_fits():
    assert steps("push the two cubes left", TWO_CUBES) == ["push(red cube, left)", "push(yellow cube, left)"]
    refusal = decided("push three cubes left", TWO_CUBES)
    assert isinstance(refusal, Refusal) and "2 fit 'cubes', not 3" in refusal.why


def test_what_instead_of_leaves_out_is_not_planned_elsewhere():
    refusal = decided("push everything left instead of the ball")
    assert isinstance(refusal, Refusal) and "'instead of' leaves out" in refusal.why


def test_another_thing_than_the_one_in_the_gripper_is_not_let_go():
    holding = SceneDescription(TABLE.things, holding="red cube")
    assert steps("let go of the cube", holding) == ["open_gripper()"]
    refusal = decided("let go of the ball", holding)
    assert isinstance(refusal, Refusal) and "the gripper holds the red cube" in refusal.why


def test_a_place_narrows_what_is_pushed_only_where_it_is_said_to_lie_there():
    lies = TABLE.with_thing(SeenObject("red cube", on="blue plate"))
    assert "'red cube' lies on 'blue plate'" in decided("push the cube that is on the plate left", lies).why
    assert "things are pushed over a line" in decided("push the cube on the plate left", lies).why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("push the ball left, twice", "'twice' is not understood"),
        ("once the cube is there push the ball left", "'the cube is there' tells when"),
        ("push the cube and the ball all left", "'all' behind 'ball' is not read"),
        ("push everything else left", "'everything … else' leaves something out"),
        ("push the ball left and right", "'right' does not say what is pushed; expected one way"),
        ("push the ball home", "expected 'go home'"),
        ("pussh the ball left", "'pussh' is not understood; did you mean 'push'?"),
        ("before pushing the ball left", "'pushing the ball left' tells when"),
        ("last push the ball left, first put the cube on the plate", "'last' in 'last push the ball left' contradicts"),
        ("put the cube on the plate, on the tray", "'on the tray' is a second place"),
        ("lift the cube on the plate", "may mean to pick up from the blue plate"),
        ("push the ball left but keep it on the table", "'keep' does not say where"),
        ("push the ball left to the plate", "things are pushed over a line"),
        ("move the ball left to the plate", "says left and a place"),
        ("lift the ball to the left", "things are picked up, and pushed left"),
        ("put the cube next the plate", "'next the plate' is no place"),
    ],
)
def test_a_refusal_names_the_words_that_are_not_read(text, why):
    refusal = decided(text)
    assert isinstance(refusal, Refusal) and why in refusal.why, refusal


def test_can_is_a_can_only_where_it_is_one():
    assert steps("can you push the ball left?") == ["push(blue ball, left)"]
    assert steps("you can push the can left") == ["push(green cylinder, left)"]


@pytest.mark.parametrize(
    "said", ["not the red one", "anything but the red cube", "the red or the yellow one", "nowhere", "", "?"]
)
def test_an_answer_that_denies_or_fits_several_is_asked_for_again(said):
    question = decided("put the cube on the plate", TWO_CUBES)
    again = decided("put the cube on the plate", TWO_CUBES, answers=((question.text, said),))
    assert again == question


def test_an_answer_may_be_said_in_other_words():
    question = decided("put the cube on the plate", TWO_CUBES)
    assert steps("put the cube on the plate", TWO_CUBES, answers=((question.text, "Yellow."),)) == [
        "place_on(yellow cube, blue plate)"
    ]
    way = decided("push the ball")
    assert isinstance(decided("push the ball", answers=((way.text, "to the right, not to the left"),)), Question)


@pytest.mark.parametrize(
    ("text", "scene", "answer", "expected"),
    [
        ("put the cube on the plate", TWO_CUBES, "the yellow one", ["place_on(yellow cube, blue plate)"]),
        ("push the ball", TABLE, "to the left", ["push(blue ball, left)"]),
        ("put the cube away", TABLE, "in the tray", ["place_on(red cube, yellow tray)"]),
        ("pick it up", TABLE, "the green cylinder", ["grasp(green cylinder)"]),
    ],
)
def test_what_can_mean_two_things_is_asked_and_the_answer_settles_it(text, scene, answer, expected):
    question = decided(text, scene)
    assert isinstance(question, Question) and question.choices
    assert steps(text, scene, answers=((question.text, answer),)) == expected
    again = decided(text, scene, answers=((question.text, "well"),))
    assert isinstance(again, Question)


def test_what_is_done_is_not_done_again_and_what_was_undone_is():
    text = "put the cube on the plate, then push the ball left"
    put = Skill("place_on", object="red cube", destination="blue plate")
    lies = TABLE.with_thing(SeenObject("red cube", on="blue plate"))
    assert steps(text, lies, tried=(SkillResult(put, "done", 4.0),)) == ["push(blue ball, left)"]
    assert steps(text, TABLE, tried=(SkillResult(put, "done", 4.0),)) == [
        "place_on(red cube, blue plate)",
        "push(blue ball, left)",
    ]


def test_after_a_failure_the_arm_goes_home_first_and_gives_up_after_three():
    push = Skill("push", object="blue ball", direction="left")
    failed = SkillResult(push, "stalled", 15.0, left=0.1)
    assert steps("push the ball left", tried=(failed,)) == ["home()", "push(blue ball, left)"]
    decision = decided("push the ball left", tried=(failed,) * 3)
    assert isinstance(decision, Refusal) and "failed 3 times" in decision.why and "0.10 m left" in decision.why


WORDS = (
    "put push the cube ball plate left on and then , . it red before after not two each other once when over line away tray "
    "keep let instead of off i you is be back again open gripper so that ? 3 ²"
)


@given(st.text(max_size=60) | st.lists(st.sampled_from(WORDS.split(" ")), max_size=14).map(" ".join))
def test_any_words_give_a_decision_and_a_plan_holds(text):
    for scene in (TABLE, EMPTY):
        decision = decided(text, scene)
        assert isinstance(decision, Plan | Question | Refusal)
        assert not isinstance(decision, Plan) or check_plan(decision, scene) is None


def test_the_long_instructions_ship_and_are_what_they_say():
    told = instructions()
    assert [sum(x.kind == k for x in told) for k in ("feasible", "impossible", "ambiguous")] == [70, 15, 15]
    assert all(x.goals or x.kind == "impossible" for x in told)


def test_what_lies_on_a_place_is_picked_up_from_it():
    lies = TABLE.with_thing(SeenObject("red cube", on="blue plate"))
    assert steps("lift the cube on the plate", lies) == ["grasp(red cube)"]


def test_both_of_three_are_asked_for_and_the_two_named_are_pushed():
    question = decided("push both left")
    assert isinstance(question, Question)
    assert steps("push both left", answers=((question.text, question.choices[0]),)) == [
        "push(red cube, left)",
        "push(green cylinder, left)",
    ]


def test_going_home_that_was_asked_for_is_told_from_going_home_after_a_failure():
    text = "push the ball left and go home"
    push, home = Skill("push", object="blue ball", direction="left"), Skill("home")
    beyond = TABLE.with_thing(SeenObject("blue ball", beyond=("left",)))
    failed, pushed, came = (
        SkillResult(push, "stalled", 15.0),
        SkillResult(push, "done", 4.0),
        SkillResult(home, "done", 2.0),
    )
    assert steps(text, tried=(failed,)) == ["home()", "push(blue ball, left)", "home()"]
    assert steps(text, beyond, tried=(failed, came, pushed)) == ["home()"]
    assert steps(text, beyond, tried=(pushed, came)) == []
    stuck = SkillResult(home, "stalled", 6.0)
    assert steps(text, beyond, tried=(pushed, stuck)) == ["home()"]
    assert steps(text, beyond, tried=(pushed, stuck, came)) == []
