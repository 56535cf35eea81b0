"""The words and sentences that `free_phrases` is made of: what else people call a colour, a thing and a direction, and how
they ask. None of the frames is a wording that a task keeps for tests (`Task.unseen`), nor has its verb; a test holds that."""

from __future__ import annotations


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


COLOUR_WORDS: dict[str, tuple[str, ...]] = {  # the first is the usual one
    "red": ("red", "crimson", "scarlet", "ruby", "cherry red", "reddish", "bright red", "red-coloured", "tomato red"),
    "yellow": ("yellow", "golden", "lemon", "lemon yellow", "yellowish", "canary yellow", "gold", "sunny yellow"),
    "green": ("green", "emerald", "lime green", "grass green", "greenish", "jade", "leaf green", "green-coloured"),
    "blue": ("blue", "navy", "navy blue", "azure", "cobalt", "royal blue", "bluish", "sapphire", "dark blue"),
    "purple": ("purple", "violet", "lilac", "lavender", "plum", "mauve", "purplish", "grape-coloured"),
}
THING_WORDS: dict[str, tuple[str, ...]] = {
    "cube": ("cube", "block", "brick", "dice", "square block", "building block", "toy block", "cuboid"),
    "ball": ("ball", "sphere", "orb", "marble", "globe", "round ball", "bead"),
    "cylinder": ("cylinder", "can", "tin", "tube", "drum", "canister", "tin can", "barrel"),
    "plate": ("plate", "dish", "saucer", "platter", "round plate", "dinner plate", "flat plate"),
    "tray": ("tray", "box", "bin", "container", "basket", "open box", "carton"),
}
_LEFT = (
    "left", "to the left", "leftwards", "leftward", "to your left", "towards the left", "to the left side",
    "to the left-hand side", "over to the left", "a bit to the left", "towards your left side",
)  # fmt: skip
DIRECTION_WORDS: dict[str, tuple[str, ...]] = {
    "left": _LEFT,
    "right": tuple(text.replace("left", "right") for text in _LEFT),
    "forward": (
        "forward", "forwards", "straight ahead", "ahead", "away from you", "away from the robot", "away from yourself",
        "away from your base", "to the far side", "towards the far end of the table", "straight forward", "onwards",
    ),
}  # fmt: skip
WAYS = {  # single words that tell a direction
    "left": ("left", "leftwards", "leftward"),
    "right": ("right", "rightwards", "rightward"),
    "forward": ("forward", "forwards", "ahead", "away", "far", "onwards"),
}
ONTO = {"plate": ("on", "on", "onto", "on top of", "upon"), "tray": ("in", "in", "into", "inside")}

# Commands, which go into a hull: {o} the thing asked for, {g} the destination, {on} on or in it, {d} the direction.
COMMANDS: dict[str, tuple[str, ...]] = {
    "reach": _lines("""
        reach towards {o}
        reach out to {o}
        reach {o} with your hand
        go over to {o}
        go to where {o} is
        go and hover over {o}
        hover above {o}
        move your hand over {o}
        move the claw to {o}
        move over {o}
        get above {o}
        get close to {o}
        get your gripper near {o}
        steer the arm to {o}
        guide your hand to {o}
        swing over to {o}
        stretch your arm towards {o}
        extend the arm to {o}
        hold your hand over {o}
        stay above {o}
        point to {o}
        point your gripper at {o}
        lean over {o}
        aim at {o}
        float over {o}
        put the gripper above {o}
        place the claw over {o}
        stop over {o}
        line up above {o}
        lower the hand to just above {o}
        visit {o}
        find {o} and wait above it
        look for {o} and go there
    """),
    "pick": _lines("""
        pick up {o}
        pick {o} up
        pick {o}
        lift {o}
        lift {o} up high
        grab {o}
        grab hold of {o}
        grasp {o}
        take {o}
        take {o} in your hand
        take {o} off the table
        raise {o}
        get {o}
        get {o} off the table
        fetch {o}
        go get {o}
        hold {o} up
        catch {o}
        snatch {o}
        nab {o}
        scoop up {o}
        pull {o} up
        heave {o} up
        pluck {o} from the table
        collect {o}
        remove {o} from the table
        pinch {o} and raise it
        hold on to {o} and lift
        get a hold of {o} and lift it
        reach down and take {o}
        find {o} and lift it
        close your fingers around {o} and lift
        hand me {o}
        pass me {o}
        give me {o}
    """),
    "place": _lines("""
        put {o} {on} {g}
        place {o} {on} {g}
        set {o} {on} {g}
        set {o} down {on} {g}
        lay {o} {on} {g}
        drop {o} {on} {g}
        move {o} {on} {g}
        stick {o} {on} {g}
        pop {o} {on} {g}
        plonk {o} {on} {g}
        park {o} {on} {g}
        rest {o} {on} {g}
        store {o} {on} {g}
        keep {o} {on} {g}
        stash {o} {on} {g}
        get {o} {on} {g}
        lower {o} {on} {g}
        load {o} {on} {g}
        put {o} away {on} {g}
        pick up {o} and put it {on} {g}
        take {o} and put it {on} {g}
        grab {o} and set it {on} {g}
        lift {o} and lay it {on} {g}
        fetch {o} and drop it {on} {g}
        get {o} and release it {on} {g}
        carry {o} over to {g}
        carry {o} to {g} and let go
        take {o} to {g}
        hold {o} over {g} and let go
        deliver {o} to {g}
        relocate {o} to {g}
        use {g} for {o}
        load {g} with {o}
        fill {g} with {o}
    """),
    "push": _lines("""
        push {o} {d}
        push {o} along, {d}
        slide {o} {d}
        slide {o} along {d}
        shove {o} {d}
        move {o} {d}
        scoot {o} {d}
        sweep {o} {d}
        drive {o} {d}
        poke {o} {d}
        bump {o} {d}
        press {o} {d}
        budge {o} {d}
        drag {o} {d}
        brush {o} {d}
        propel {o} {d}
        send {o} {d}
        force {o} {d}
        ease {o} {d}
        prod {o} {d}
        shunt {o} {d}
        kick {o} {d}
        displace {o} {d}
        get {o} to slide {d}
        make {o} slide {d}
        make {o} go {d}
        use your gripper to push {o} {d}
        push against {o} so it moves {d}
        press on {o} until it slides {d}
        close the gripper and push {o} {d}
        find {o} and shove it {d}
        go next to {o} and push it {d}
        keep pushing {o} {d}
    """),
}
# Ways to ask for a command {v}.
HULLS = _lines("""
    {v}
    please {v}
    {v} please
    pls {v}
    {v} for me
    {v} now
    now {v}
    just {v}
    kindly {v}
    go and {v}
    try to {v}
    time to {v}
    task: {v}
    next step: {v}
    your job is to {v}
    your task now: {v}
    you should {v}
    you need to {v}
    you have to {v}
    i need you to {v}
    i would like you to {v}
    i'd love you to {v}
    i am asking you to {v}
    i'd be happy if you would {v}
    what i need is for you to {v}
    it would be great if you could {v}
    it'd be nice if you could {v}
    i wonder if you could {v}
    do me a favour and {v}
    be so good as to {v}
    let's {v}
    let us {v}
    robot, {v}
    use your arm to {v}
    could you {v}?
    could you please {v}?
    can you {v}?
    can u {v}?
    will you {v}?
    would you kindly {v}?
    would you be so kind as to {v}?
    would it be possible to {v}?
    may i ask you to {v}?
    any chance you could {v}?
    how about you {v}?
    why don't you {v}?
    are you able to {v}?
    do you think you could {v}?
""")
# Whole requests: telegrams, wishes, passive forms, questions and two sentences.
FRAMES: dict[str, tuple[str, ...]] = {
    "reach": _lines("""
        above {o}
        hover, {o}
        hand over {o}
        gripper to {o}
        arm -> {o}
        {o}: reach
        {o} - go there
        {o}. go there
        next stop: {o}
        off to {o}
        destination {o}
        straight to {o}
        see {o}? hover over it
        where is {o}? point to it
        there is {o}, go above it
        i want your hand above {o}
        i'd like to see the gripper over {o}
        i wish your gripper were above {o}
        the gripper has to be above {o}
        the arm is needed at {o}
        your hand belongs over {o}
        the hand must be moved to {o}
        {o} is where your hand has to be
        would you mind hovering over {o}?
        would you mind moving your arm to {o}?
        let the gripper hover above {o}
        let me see you reach {o}
        show me {o}
        how about a trip to {o}?
        how close to {o} do you get?
        make the arm go to {o}
        have your hand wait over {o}
        i'm looking for {o}, point at it
    """),
    "pick": _lines("""
        {o} up
        up with {o}
        {o} - lift
        {o}: pick up
        lift: {o}
        pickup {o}
        gimme {o}
        {o} off the table
        i want {o}
        i'll have {o}
        i need {o} in your hand
        i'd like {o} lifted
        i want to see {o} up in your hand
        i'd be glad to see {o} lifted
        i wish {o} were off the table
        {o} must come off the table
        {o} needs to be picked up
        {o} has to be lifted
        {o} should be in your hand
        {o} is to be taken
        let me have {o}
        let {o} rise
        make {o} go up
        would you mind lifting {o}?
        mind picking up {o}?
        could i have {o}?
        may i have {o}?
        is it possible to have {o} lifted?
        how high do you lift {o}?
        what about {o}? lift it
        see {o}? grab it
        there's {o}, take it
        you forgot {o}, pick it up
        next one to lift is {o}
        get your fingers on {o} and lift
    """),
    "place": _lines("""
        {o} {on} {g}
        {o} -> {g}
        {o} to {g}
        {on} {g}: {o}
        pick {o}, place {on} {g}
        target {o}, destination {g}
        {o} goes {on} {g}
        {o} belongs {on} {g}
        {o} lives {on} {g}
        i want {o} {on} {g}
        i need {o} {on} {g}
        i'd like {o} {on} {g}
        i wish {o} were {on} {g}
        i'd be happy to see {o} {on} {g}
        {o} has to be {on} {g}
        {o} must be put {on} {g}
        {o} needs to be {on} {g}
        {o} ought to be {on} {g}
        {o} is supposed to be {on} {g}
        {o} wants to be {on} {g}
        {o} looks better {on} {g}
        {g} is for {o}
        {g} is where {o} has to be
        {g} needs {o}
        {g} looks empty, put {o} there
        {on} {g}, please put {o}
        make sure {o} ends up {on} {g}
        see that {o} lands {on} {g}
        see {o}? put it {on} {g}
        see {g}? put {o} there
        there is {g}. drop {o} there
        would you mind putting {o} {on} {g}?
        mind placing {o} {on} {g}?
        how about {o} {on} {g}?
        could {o} be put {on} {g}?
        may i have {o} {on} {g}?
        let {o} rest {on} {g}
        let's have {o} {on} {g}
        we keep {o} {on} {g}
    """),
    "push": _lines("""
        {o} {d}
        {o}: {d}
        {o} -> {d}
        {d}: {o}
        push {d}: {o}
        {d}, push {o}
        {o}, push {d}
        {o} goes {d}
        {o} has to go {d}
        {o} must move {d}
        {o} needs to be pushed {d}
        {o} is to be pushed {d}
        {o} wants a shove {d}
        i want {o} moved {d}
        i'd like {o} pushed {d}
        i'd like to see {o} slide {d}
        i am waiting for {o} to move {d}
        let {o} slide {d}
        have {o} moved {d}
        would you mind pushing {o} {d}?
        mind sliding {o} {d}?
        how about pushing {o} {d}?
        is it possible to push {o} {d}?
        could {o} be moved {d}?
        may {o} be pushed {d}?
        see {o}? push it {d}
        there's {o}. shove it {d}
        {o} is in the way, push it {d}
        {o} is in my way, slide it {d}
        push it {d}, i mean {o}
        off {d} with {o}
        direction for {o}: {d}
        get {o} out of the way, {d}
        {o} stands badly, push it {d}
    """),
}
FIRST = (  # said before the request: with a comma, and as a sentence
    _lines("""
    hi
    hello robot
    hey
    hey you
    hi there
    good morning
    ok
    okay so
    well
    listen
    excuse me
    dear robot
    aha
    hmm
    quick one
    when you have a moment
    if you have time
    sorry to bother you
"""),
    _lines("""
    hello
    good evening, robot
    one more thing
    i have a small job for you
    let's try something
    nice to see you
    we are tidying up
    it is getting late
    thanks for the last one
    here is the next job
    how are you today?
    i need some help
"""),
)
LAST = (  # said after it
    _lines("""
    thanks
    thank you
    thx
    please
    pls
    ok?
    would you?
    cheers
    buddy
    if you don't mind
    will you?
    as soon as possible
"""),
    _lines("""
    thanks a lot
    that would help
    take your time
    be careful
    i'll watch
    you are doing great
    i'm busy myself
    slowly please
    it matters to me
    good luck
"""),
)
