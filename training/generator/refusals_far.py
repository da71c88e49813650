"""Phrasings from other domains, and chat, that no tool answers.

Covers: patterns in the bracket grammar with plain replies, by category; pools for the slots used here; closing remarks.
Does not cover: requests that come close to a tool (refusals_near).
"""

from __future__ import annotations

from training.generator import words


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.replace("\n", " ").split(",") if part.strip())


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _category(weight: float, patterns: str, replies: str) -> tuple[float, tuple[str, ...], tuple[str, ...]]:
    return weight, _lines(patterns), _lines(replies)


POOLS: dict[str, tuple[str, ...]] = {
    "song": _split("""
        Paper Lanterns, Slow River, Midnight Bus, Glass Houses, Bohemian Rhapsody, Yesterday, Hey Jude, Thriller, Purple Rain, Halo,
        Imagine, Wonderwall, Dancing Queen, Hotel California, Hallelujah, Shallow, Bad Guy, Clocks, Yellow, Respect, Jolene, Creep,
        Copper Moon, Dust on the Road, Little Engines, Take On Me, Fast Car, Zombie, Africa, Roxanne, Lean on Me, Blue in Green,
        Stay Awhile, Tin Roof, Happy, Royals, Toxic, Waterloo, Summertime, So What"""),
    "artist": _split("""
        Adele, Queen, Beyonce, Drake, Nina Simone, Miles Davis, Taylor Swift, Bob Marley, Prince, Radiohead, Fela Kuti, Bjork, Coldplay,
        Rihanna, Elton John, Metallica, The Beatles, Abba, Daft Punk, Kendrick Lamar, Dolly Parton, Johnny Cash, Shakira, U2, Sade,
        Aretha Franklin, David Bowie, Billie Eilish, Bad Bunny, Pink Floyd, Nirvana, Stevie Wonder, Tina Turner, Outkast, Enya,
        The Brass Foxes, Mara Vell, DJ Kestrel, Low Orchard, Sunday Cartel"""),
    "genre": _split("""
        jazz, rock, classical music, hip hop, country, reggae, techno, blues, salsa, pop, lo-fi, folk, metal, disco, opera, k-pop,
        bossa nova, soul, gospel, punk, ambient, house, r&b, bluegrass, funk, trance, ska, indie"""),
    "playlist": _split("""
        workout, chill vibes, road trip, sunday morning, party mix, focus, dinner jazz, running, gym, sleep, 80s hits, throwback,
        study beats, summer 22, cooking, deep work, love songs, rainy afternoon, favourites, kids songs, kitchen disco, liked songs,
        commute, new finds, yoga flow"""),
    "station": _split("""
        BBC Radio 4, NPR, Kiss FM, 98.7, 101.3 fm, Capital FM, Jazz FM, Classic FM, Radio 1, KEXP, 94.5, Rock 105, Radio Paradise, WNYC,
        the local news station, Smooth Radio, Virgin Radio, 88.9, Talk Sport, the oldies station, 107.7, Magic FM, Triple J, Q104, Bay FM"""),
    "podcast": _split("""
        Serial, This American Life, Radiolab, The Daily, Planet Money, 99 Percent Invisible, Hidden Brain, Freakonomics, Reply All, Invisibilia,
        Stuff You Should Know, Hardcore History, Song Exploder, Criminal, The Moth, Ted Talks Daily, In Our Time, Code Switch, Revisionist History,
        Snap Judgment, the history one, The Slow Newscast, Darknet Diaries, Science Friday, Lore"""),
    "book": _split("""
        Dune, Moby Dick, Emma, Beloved, The Hobbit, Educated, Circe, Becoming, Persuasion, Dracula, The Martian, Middlemarch, Walden,
        Frankenstein, Ulysses, Jane Eyre, Atonement, The Alchemist, Sapiens, Lonesome Dove, The Stranger, Siddhartha, The Overstory, Holes,
        Piranesi, Kindred, The Odyssey, Little Women, Catch-22, The Long Orchard, Ash and Salt, A Map of Winters, Charlotte's Web, Matilda"""),
    "movie": _split("""
        Jaws, Alien, Titanic, Inception, Casablanca, Psycho, The Matrix, Frozen, Coco, Gladiator, Amelie, Parasite, Rocky, Up, Heat, Fargo,
        Top Gun, Barbie, Oppenheimer, Toy Story, The Godfather, Paddington, Arrival, Vertigo, Spirited Away, Moonlight, Get Out, Skyfall,
        Whiplash, The Lion King, Black Panther, Interstellar, The Sting, Shrek, Grease, Mad Max, The Last Ferry, Night Harbour"""),
    "show": _split("""
        Friends, Seinfeld, The Office, Lost, The Wire, Fargo, Chernobyl, Succession, Jeopardy, Dark, Bluey, The Crown, Fleabag, Mad Men,
        Stranger Things, Breaking Bad, Sherlock, Narcos, Planet Earth, Severance, Ozark, Columbo, MasterChef, Survivor, Doctor Who,
        the evening news, Squid Game, House, Frasier, Better Call Saul"""),
    "dish": _split("""
        lasagna, chicken curry, pad thai, banana bread, meatloaf, beef stew, pancakes, ramen, chili, tacos, paella, risotto, guacamole,
        brownies, hummus, mac and cheese, goulash, sushi, french onion soup, carrot cake, fried rice, shakshuka, moussaka, pierogi, jollof rice,
        apple pie, caesar salad, biryani, falafel, pho, cornbread, quiche, gnocchi, meatballs, waffles, borscht, ceviche, pot roast, tiramisu, dal"""),
    "food": _split("""
        butter, eggs, sour cream, buttermilk, honey, brown sugar, soy sauce, cornstarch, heavy cream, olive oil, baking powder, cilantro,
        salmon, chicken, rice, quinoa, oats, avocado, a banana, an apple, a bagel, peanut butter, cheddar, tofu, lentils, broccoli, bacon,
        a donut, coconut milk, yogurt, potatoes, pasta, steak, shrimp, spinach, almonds, sweet potatoes, turkey, white wine, lemon juice"""),
    "cuisine": _split("""
        thai, italian, mexican, indian, chinese, greek, ethiopian, vegan, sushi, pizza, burger, korean, lebanese, french, bbq, seafood, ramen,
        turkish, vietnamese, spanish, breakfast, steak, kosher, halal, peruvian, caribbean, dim sum, taco"""),
    "restaurant": _split("""
        Olive Garden, Nando's, Chipotle, Red Lobster, Wendy's, Domino's, Burger King, the Golden Wok, La Perla, Trattoria Nonna, Five Guys,
        Taco Bell, Subway, Panera, Carbone, Shake Shack, the Copper Pot, Bistro 21, Sakura House, Spice Garden, Pho Corner, The Rusty Fork,
        Mama Rosa's, Denny's, Applebee's, IHOP, the corner deli, El Camino, Blue Heron, The Ivy"""),
    "animal": _split("""
        penguin, giraffe, octopus, cat, dog, elephant, hummingbird, snail, blue whale, koala, cheetah, owl, hamster, parrot, tortoise, wolf,
        panda, hedgehog, bat, kangaroo, goldfish, horse, bee, crocodile, llama, otter, ferret, rabbit, sloth, crow, jellyfish, camel"""),
    "country": _split("""
        France, Japan, Brazil, Kenya, Peru, Norway, Egypt, India, Canada, Mexico, Thailand, Cuba, China, Spain, Portugal, Greece, Turkey, Ghana,
        Morocco, Vietnam, Chile, Poland, Iceland, New Zealand, Australia, South Africa, Nepal, Finland, Bolivia, Mongolia, Fiji, Malta, Jordan, Oman"""),
    "currency": _split("""
        dollars, euros, pounds, yen, pesos, rupees, francs, kroner, yuan, won, rand, lira, zloty, reais, baht, shillings, naira, dirhams,
        ringgit, canadian dollars, aussie dollars, swiss francs, shekels, forints, dinars"""),
    "company": _split("""
        Apple, Google, Tesla, Amazon, Netflix, Microsoft, Ford, Nike, Disney, Intel, Boeing, Walmart, Sony, Samsung, Shell, Pfizer, Coca-Cola,
        Target, IBM, Toyota, Siemens, Nvidia, Spotify, Uber, Starbucks, Costco, General Motors, Nestle, Visa, AT&T"""),
    "bank": _split("""
        Chase, Wells Fargo, my credit union, Bank of America, Citi, Barclays, HSBC, Capital One, Ally, Discover, Lloyds, TD, Santander, ING,
        Monzo, Revolut, PNC, US Bank, Nationwide, N26, Truist, Amex, First National, Harbor Bank, Schwab"""),
    "account": _split("""
        checking, savings, joint, money market, business, brokerage, holiday, student, emergency fund, travel, main, personal, current,
        high yield savings, second checking, retirement, kids, secondary, house fund, spending, credit union, old, investment, rainy day, tax"""),
}
POOLS |= {
    "app": _split("""
        Instagram, Facebook, Twitter, WhatsApp, Slack, Zoom, TikTok, Spotify, YouTube, Netflix, Gmail, Chrome, Dropbox, Photoshop, Excel, Reddit,
        Snapchat, Pinterest, LinkedIn, Discord, Telegram, Google Maps, Venmo, PayPal, Audible, Kindle, Signal, Threads, Strava, Duolingo"""),
    "room": _split("""
        kitchen, bedroom, living room, bathroom, hallway, garage, basement, office, nursery, dining room, attic, porch, den, guest room, hall,
        laundry room, upstairs, kids room, patio, study, playroom, stairs, front room, conservatory, entryway, back yard"""),
    "device": _split("""
        tv, speaker, fan, heater, coffee machine, lamp, dishwasher, washing machine, air conditioner, humidifier, oven, printer, router, projector,
        tablet, laptop, air purifier, garage door, sprinkler, kettle, dryer, vacuum, toaster, soundbar, christmas tree, space heater, fish tank"""),
    "colour": _split("""
        red, blue, green, purple, warm white, orange, pink, yellow, cool white, turquoise, amber, lavender, teal, white, violet, soft pink,
        gold, lime, magenta, cyan, peach, dark blue, candlelight, crimson, daylight"""),
    "sport": _split("""
        football, soccer, basketball, baseball, tennis, golf, hockey, cricket, rugby, boxing, formula one, volleyball, swimming, cycling, darts,
        snooker, badminton, softball, lacrosse, wrestling, ufc, skiing, table tennis, handball, curling"""),
    "team": _split("""
        Lakers, Yankees, Arsenal, Real Madrid, Cowboys, Celtics, Red Sox, Liverpool, Warriors, Packers, Cubs, Barcelona, Maple Leafs, Bulls, Dodgers,
        Chelsea, Steelers, Heat, Mets, Bayern, Juventus, Seahawks, Rangers, Astros, Ajax, Raptors, Broncos, Celtic"""),
    "celebrity": _split("""
        Tom Hanks, Oprah, Brad Pitt, Zendaya, Serena Williams, Lionel Messi, Keanu Reeves, Meryl Streep, Barack Obama, Elon Musk, Emma Watson, Dwayne Johnson,
        LeBron James, Lady Gaga, Bill Gates, George Clooney, Angela Merkel, Idris Elba, Roger Federer, Greta Thunberg, Jackie Chan, Judi Dench,
        Ryan Gosling, Viola Davis, Pele, Simone Biles, David Attenborough, Malala"""),
    "figure": _split("""
        Cleopatra, Napoleon, Einstein, Marie Curie, Abraham Lincoln, Genghis Khan, Mozart, Gandhi, Julius Caesar, Joan of Arc, Shakespeare, Galileo,
        Nelson Mandela, Leonardo da Vinci, Queen Victoria, Ada Lovelace, Tesla, Frida Kahlo, Darwin, Columbus, Beethoven, Rosa Parks, Plato, Newton, Confucius, Tutankhamun"""),
    "happening": _split("""
        the second world war, the french revolution, the moon landing, the black death, the cold war, the fall of the berlin wall, the boston tea party,
        the great fire of london, the civil war, the gold rush, prohibition, the renaissance, the industrial revolution, the sinking of the titanic,
        the battle of hastings, the great depression, the suez crisis, the vietnam war, the boxer rebellion, the space race, the crusades,
        the russian revolution, the dust bowl, the first olympics, chernobyl"""),
    "science": _split("""
        photosynthesis, gravity, a black hole, dna, an eclipse, evolution, entropy, magnetism, osmosis, a supernova, the big bang, radioactivity, inflation,
        a neutron star, mitosis, plate tectonics, electricity, relativity, a vaccine, the greenhouse effect, a tide, static, a rainbow, dark matter, an enzyme, friction"""),
    "language": _split("""
        spanish, french, german, italian, japanese, korean, mandarin, arabic, portuguese, russian, hindi, swahili, polish, dutch, turkish, greek, hebrew,
        swedish, latin, finnish, vietnamese, thai, hungarian, welsh, urdu, tagalog, zulu, czech"""),
    "word": _split("""
        serendipity, ubiquitous, necessary, rhythm, accommodate, entrepreneur, conscience, ephemeral, bureaucracy, pneumonia, onomatopoeia, mischievous,
        definitely, separate, embarrass, ambivalent, pragmatic, quixotic, gregarious, lugubrious, obfuscate, paradigm, zeitgeist, placebo, esoteric, cacophony,
        restaurant, colonel, vacuum, queue, sycophant, nonchalant, resilience, vicarious, hubris, irony, fuchsia, diarrhea, rendezvous, acquiesce"""),
    "expression": _split("""
        good morning, thank you, where is the bathroom, how much is this, I love you, excuse me, happy birthday, see you later, I am lost, the bill please,
        cheers, goodbye, I do not understand, nice to meet you, help, one beer please, my name is, good luck, good night, I am hungry, water, how are you, the train station,
        left, right, please, butterfly, library, friend, snow"""),
    "unit": _split("""
        miles, kilometers, pounds, kilos, ounces, grams, cups, liters, gallons, feet, meters, inches, centimeters, yards, tablespoons, teaspoons, pints,
        acres, hectares, stone, quarts, milliliters, nautical miles, hours, seconds, megabytes, gigabytes, joules"""),
    "car": _split("""
        car, truck, honda, minivan, suv, van, prius, jeep, motorcycle, toyota, camry, civic, ford, pickup, subaru, golf, mini, rental, fiat, volvo, bmw,
        hatchback, old volvo, wife's car, scooter"""),
    "airline": _split("""
        Delta, United, Lufthansa, British Airways, Emirates, Southwest, Ryanair, Air France, KLM, JetBlue, American, Qantas, easyJet, Turkish Airlines, Alaska,
        Iberia, Singapore Airlines, Spirit, Air Canada, Finnair, Qatar, Norwegian, TAP, Cathay, Etihad"""),
    "hotel": _split("""
        Hilton, Marriott, Holiday Inn, Hyatt, Best Western, Motel 6, Four Seasons, Sheraton, Radisson, Premier Inn, Ibis, Westin, Ritz, Days Inn, Novotel,
        Hampton Inn, Travelodge, Airbnb, hostel, Grand Plaza, Sea View, Courtyard, Comfort Inn, Ramada, W"""),
    "spot": _split("""
        gas station, pharmacy, atm, supermarket, coffee shop, hospital, post office, bank, park, gym, hardware store, library, bus stop, car wash, bakery,
        police station, laundromat, dog park, pet store, bookstore, charging station, liquor store, urgent care, swimming pool, mall, bike shop"""),
    "symptom": _split("""
        a headache, a sore throat, a fever, back pain, a rash, a cough, a stomach ache, heartburn, a runny nose, knee pain, insomnia, a migraine, hiccups, dizziness,
        a toothache, an earache, a swollen ankle, itchy eyes, cramps, a stiff neck, chest pain, nausea, a sunburn, a bee sting, dry skin, low blood pressure"""),
    "game": _split("""
        chess, tic tac toe, trivia, hangman, twenty questions, minecraft, poker, solitaire, tetris, scrabble, monopoly, fortnite, zelda, checkers, sudoku, mario kart,
        i spy, pacman, rock paper scissors, wordle, fifa, the sims, catan, backgammon, uno, candy crush, would you rather, snake"""),
    "mood": _split("""
        tired, sad, bored, happy, lonely, anxious, excited, angry, stressed, great, grumpy, hungry, sleepy, fantastic, a bit down, overwhelmed, nervous, proud, confused,
        hopeful, annoyed, restless, grateful, heartbroken, weird, cheerful, exhausted, worried"""),
    "product": _split("""
        headphones, running shoes, a phone case, a winter coat, a blender, diapers, a yoga mat, a desk lamp, toner, a vacuum, socks, a charger, a kettle, a keyboard,
        dog food, vitamins, a backpack, a mattress, sunglasses, a tent, a new phone, batteries, paper towels, a monitor, a toaster, a bike helmet, light bulbs, lipstick"""),
    "shop": _split("""
        Amazon, Etsy, eBay, Target, Ikea, Zara, Best Buy, Walmart, Costco, Sephora, Nike, Zalando, Asos, Home Depot, Wayfair, Macy's, Argos, Decathlon, Chewy, H&M, Gap,
        Newegg, Uniqlo, Kohl's, Old Navy"""),
    "bill": _split("""
        electric bill, phone bill, water bill, rent, credit card bill, gas bill, internet bill, cable bill, visa bill, mortgage, car payment, insurance bill, heating bill,
        gym membership, student loan, medical bill, streaming bill, council tax, utilities, trash bill, hoa fee, power bill, tuition, car insurance, netflix bill"""),
    "subject_school": _split("""
        algebra, geometry, biology, chemistry, history, physics, calculus, geography, english, economics, statistics, grammar, spelling, french, fractions, latin, civics,
        literature, trigonometry, long division, computer science, art history, philosophy, psychology, astronomy"""),
    "festival": _split("""
        christmas, easter, thanksgiving, halloween, new year's, valentine's day, hanukkah, diwali, eid, ramadan, mother's day, father's day, lent, passover, labor day,
        memorial day, carnival, st patrick's day, mardi gras, the lunar new year, boxing day, good friday, columbus day, juneteenth, holi"""),
    "about": _split("""
        the ocean, robots, autumn, my cat, friendship, the moon, coffee, a dragon, trains, a lost sock, growing old, the desert, pirates, mondays, a lighthouse, winter,
        a shy ghost, my grandmother, dinosaurs, the city at night, a talking fox, space travel, love, bread, mountains, a brave mouse"""),
}
POOLS["network"] = _split("""
    Instagram, Facebook, Twitter, TikTok, Snapchat, Reddit, Pinterest, LinkedIn, Threads, Mastodon, YouTube, Tumblr, Bluesky, BeReal, Twitch, Quora,
    Flickr, Nextdoor, Vimeo, Goodreads, Strava, insta, fb, my timeline, my feed, my page, my blog""")
# A second value for the patterns that name two of a kind.
TWICE = (
    "account", "animal", "app", "artist", "book", "celebrity", "colour", "country", "currency",
    "device", "figure", "food", "genre", "language", "product", "restaurant", "science", "shop", "unit",
    "word",
)
POOLS |= {f"{slot}2": POOLS[slot] for slot in TWICE}
POOLS |= {"name2": words.FIRST, "city2": words.CITY, "num2": tuple(str(number) for number in range(2, 100))}

CATEGORIES: dict[str, tuple[float, tuple[str, ...], tuple[str, ...]]] = {
    "music_play": _category(1.6, """
        play {song} [by {artist}|]
        [please|could you|] put on [some|a bit of] {genre}
        i [want|would like|wanna] [to hear|to listen to] {artist}
        play [me|us|] [something|anything] [by|from] {artist} [on {app}|]
        [start|resume|continue] [the music|my music|playback]
        {artist} please
        let's [hear|have] [some|a little] {genre} [in the {room}|]
        shuffle [all songs|everything] by {artist}
        can you play the [newest|latest|first|best] [album|record|single] [of|from|by] {artist}
        [some|more] {genre} [would be nice|please]
        is there any good {genre} [you could play|to listen to]
        play that [song|tune] [from|in] {movie}
        i'm in the mood for [some|] {genre}
        would it be possible to listen to {song} while i [cook|work|drive]
        sing [me|] [a song|{song}|something]
        """, """
        I can't play music.
        Playing music is not something I can do.
        """),
    "music_control": _category(1.0, """
        [skip|next] [this|this one|this song|song|track] [please|]
        pause [the music|the song|it] [for a second|]
        go back to the [previous|last] [song|track]
        [i love|i like|i really like|save] this [song|track|one]
        thumbs [up|down] [for this song|]
        don't [ever|] play this [song|artist] again
        put [this|this song|{song}] on repeat
        turn [off the|the] music [off|]
        what [song|track] is [this|playing] [right now|]
        who [sings|wrote|recorded|performs] {song}
        what [album|year] is {song} from
        name that tune
        rewind [thirty seconds|a bit|to the chorus]
        what's the name of the [band|singer] [playing|on now]
        give this [album|song|record] [two|three|four|five] stars
        how many albums has {artist} [made|put out]
        """, """
        I can't control or identify music.
        Music is outside what I can do.
        """),
    "playlists": _category(0.8, """
        add [this song|this track|{song}|this] to [my|the] {playlist} playlist
        put {artist} [on|into] [my|] {playlist} playlist
        play my {playlist} [playlist|mix]
        make [me|] a playlist [of|with] {genre}
        create a [new|] playlist [called|named] {playlist}
        [delete|remove] {song} from {playlist}
        i need [another|one more] {artist} [song|tune] in my {playlist} playlist
        what's [on|in] my {playlist} playlist
        include {song} in the list {playlist} on {app}
        shuffle {playlist}
        can {artist} be added to {playlist}
        """, """
        I can't work with playlists.
        Playlists are not something I can change.
        """),
    "radio": _category(0.8, """
        [turn on|switch on|play|start] the radio
        [tune to|put on|play|switch to] {station}
        [i'd like to|let me|can i] [listen to|hear] {station}
        radio off
        what's [on|playing on] {station} [right now|]
        find [me|] a {genre} station
        change [the|] station
        open {station} on [my|the] {device}
        which station [has|plays] the [game|{sport}|{team} game]
        is there a [station|channel] with [only|] {genre}
        """, """
        I can't play the radio.
        The radio is not something I can control.
        """),
    "podcasts": _category(0.7, """
        play [the latest|the last|the newest|an] episode of {podcast}
        [subscribe to|follow|unsubscribe from] {podcast}
        [any|got any|know any] good podcasts [about|on] {about}
        i [want|would like] to listen to [the podcast|] {podcast}
        [skip|jump] to the next [episode|podcast]
        how [long|many minutes] is the [new|last] {podcast} episode
        recommend [me|] a podcast for [my commute|the gym|falling asleep]
        download [all|the last three] episodes of {podcast}
        where did i stop in {podcast}
        is {podcast} [still|] on this week
        """, """
        I can't play or look up podcasts.
        Podcasts are outside what I can do.
        """),
    "audiobooks": _category(0.7, """
        [read|play] [me|] [the audiobook of|] {book}
        [resume|continue|carry on with] my [audiobook|audio book]
        start {book} from [the beginning|chapter {num}]
        go [back|forward] [a chapter|one chapter|two chapters]
        who [narrates|is reading] {book}
        [slow down|speed up] the [narrator|reading|audiobook]
        keep reading [where we stopped|from where i left off|]
        is {book} on audible
        how much [time|] is left in [this|the] audiobook
        stop reading [at the end of this chapter|]
        """, """
        I can't play audiobooks.
        Audiobooks are not something I can read or control.
        """),
    "volume": _category(0.8, """
        [turn|crank|bring] [it|the volume|the sound] [up|down]
        volume [up|down|{num}|to max|to half]
        [too|way too|that's too|it's] [loud|quiet]
        [louder|quieter|softer] [please|]
        mute [the speaker|yourself|everything|]
        set [the|] volume [at|to] {num} percent
        i can't hear [you|a thing|the music]
        [unmute|sound on]
        could you [please|] [lower|raise|reduce|increase] the [volume|sound] [a bit|a little|of the {device}|]
        what's the volume [at|now]
        speak [up|louder|more quietly]
        """, """
        I can't change the volume.
        The volume is not something I can control.
        """),
    "lights": _category(1.4, """
        [turn|switch] [on|off] the [{room}|] lights
        [{room}|all] lights [on|off]
        [dim|brighten|lower] the [lights|lamp|lamps] [in the {room}|to {num} percent|]
        it's [too|so] [dark|bright] in [here|the {room}]
        make the {room} [lights|light] {colour}
        change the [colour|color] of the [bulb|lights|lamp] to {colour}
        [lights|light] out
        can we [have|get] a bit [more|less] light in the {room}
        set the [mood|scene] [for dinner|for movie night|]
        i [don't want|want] the [{room}|porch] light on [anymore|tonight|]
        kill the lights
        [did i leave|is|are] the {room} light[s|] [still|] on
        would you kindly turn the {room} lamp [on|off] for me
        {colour} lights in the {room}
        [brightness|light] to {num}
        """, """
        I can't control lights.
        Lights are not something I can control.
        """),
    "smart_devices": _category(1.2, """
        [turn|switch] [on|off] the {device}
        [turn|switch] the {device} [on|off] [please|now|]
        [is|did i leave] the {device} [still|] on
        shut [down|off] the {device} in the {room}
        {device} [on|off]
        [start|stop] the {device}
        plug off in the {room}
        unplug everything in the {room}
        [could you|please] [power|cut the power to] the {device}
        put the {device} on [standby|low|high|eco mode]
        open the [blinds|curtains|shades] [in the {room}|]
        [close|shut] the [garage|gate|blinds|shutters]
        activate [the|] {room} socket
        how do i reset [my|the] {device}
        connect [to|] the {device} in the {room}
        """, """
        I can't control devices at home.
        Smart home devices are outside what I can do.
        """),
    "thermostat": _category(0.8, """
        set the [thermostat|heating|ac] to {num} [degrees|]
        turn [up|down] the [heat|heating|thermostat|ac]
        [it's|i'm] [freezing|boiling|too hot|too cold] in [here|the {room}|this house]
        make [it|the {room}] [warmer|cooler|a bit warmer|a bit cooler]
        what's the [thermostat|heating] set to
        how [warm|hot] is [the {room}|it inside the house]
        [heat|cool] the {room} [to {num}|down|up|]
        is the [heating|boiler|ac] [running|on]
        preheat the oven [to {num}|]
        put the [central|] heating on for [an hour|half an hour]
        """, """
        I can't control heating or cooling.
        The thermostat is not something I can change.
        """),
    "vacuum_coffee": _category(0.8, """
        [start|run|begin] the [robot|] vacuum [cleaner|] [now|]
        vacuum the {room} [please|]
        send the [roomba|robot] [home|to its dock|to the {room}]
        [make|brew|start] [me|] [a|some] [coffee|cup of coffee|espresso|latte]
        i [need|could use|want] a [coffee|cappuccino]
        clean the [floor|carpet] [in the {room}|] with the [roomba|robot]
        get the coffee [going|machine ready]
        is the vacuum [done|stuck|charging]
        turn the coffee [maker|machine|pot] on
        hoover [the|] {room}
        [stop|pause] [hoovering|the roomba]
        """, """
        I can't run machines at home.
        Home appliances are outside what I can do.
        """),
    "locks_cameras": _category(0.8, """
        [lock|unlock] the [front|back|side|garage] door
        [is|did i leave] the [front|back] door [locked|open|unlocked]
        [arm|disarm|set] the [house|burglar|security] [system|alarm system]
        show [me|] the [front door|driveway|baby|{room}] camera
        who['s| is| was] at the door
        lock up [for the night|the house|]
        did anyone [come by|ring the doorbell] while i was [out|away]
        open the [front|] gate for {person}
        any [motion|movement] in the {room}
        let {person} in
        what's the [door|gate] code
        """, """
        I can't control locks or cameras.
        Locks and cameras are outside what I can do.
        """),
    "tv": _category(0.8, """
        [turn|switch] the [tv|television] [on|off]
        put {show} on [the tv|{app}|]
        change [the|] channel [to {num}|]
        what's on [tv|television|channel {num}|the telly] [tonight|now|]
        record {show} [for me|]
        [next|skip] episode of {show}
        when does the [new|next] season of {show} [start|come out]
        where can i [watch|stream] {show}
        i want to [watch|see] {show} [from season one|]
        how many [seasons|episodes] [of|does] {show} [have|are there]
        turn [the|] subtitles [on|off]
        who [plays|played] the [lead|doctor|detective|boss] in {show}
        switch to hdmi [two|one]
        """, """
        I can't control the TV or look up shows.
        Television is outside what I can do.
        """),
}

CATEGORIES |= {
    "news": _category(0.8, """
        what's [in|on] the news [today|this morning|]
        [give|read|tell] me the [latest|top|] headlines
        any [news|updates] [about|on|from] [{country}|{company}|{celebrity}]
        what [happened|is going on] in {country} [lately|this week|]
        [latest|breaking] news
        read [me|] the [sports|business|local|tech] [section|news|pages]
        who [won|is winning] the election [in {country}|]
        keep me [posted|updated] on [{company}|the {team}|{country}]
        anything [interesting|big] happen in [the world|politics] [today|]
        what does the [times|guardian|post] say about {celebrity}
        """, """
        I can't look up the news.
        News is outside what I can do.
        """),
    "jokes": _category(0.8, """
        tell me a [joke|funny joke|dad joke|pun]
        make me [laugh|smile|giggle]
        know any [good|] jokes [about {about}|about a {animal}|]
        [another one|one more joke|a better joke] please
        say something [funny|silly]
        i [need|could do with] a [good|] laugh
        knock knock
        why did the {animal} cross the road
        what do you call a {animal} [in a suit|with no legs]
        got [any|] {animal} jokes
        that [joke|one] wasn't [very|] funny
        """, """
        I don't do jokes, sorry.
        Jokes are not my strength.
        """),
    "fun_facts": _category(0.7, """
        tell me [a|an interesting|some] [fun|random|] fact [about {about}|]
        did you know that a {animal} can [swim|hear colours|sleep standing up]
        give me a [fact|piece of trivia] [about|on] {country}
        surprise me [with something|]
        teach me something [new|i don't know]
        what's the [weirdest|strangest] thing about a {animal}
        what [happened|was invented] on this day in history
        something [interesting|cool] about {science} please
        fact of the day
        quiz me [on|about] {subject_school}
        ask me a [trivia|quiz] question
        """, """
        I can't offer facts or trivia.
        Trivia is outside what I can do.
        """),
    "definitions": _category(1.0, """
        [define|definition of|meaning of] {word}
        what [does|is the meaning of] {word} [mean|]
        what's a [synonym|antonym|good word] for {word}
        use {word} in a sentence
        [look up|search] the word {word} [in the dictionary|]
        what [rhymes|goes] with {word}
        is {word} a [noun|verb|real word]
        explain the [term|word] {word} [to me|]
        where does the word {word} come from
        {word} means what [exactly|]
        how would you [describe|explain] {science} to a [child|five year old]
        """, """
        I can't look up words.
        Definitions are outside what I can do.
        """),
    "spelling": _category(0.7, """
        how do [you|i] spell {word}
        spell {word} [for me|please|]
        [is it|do you write] {word} with [one|two] [c|s|l|m]
        how is {word} [spelled|written|pronounced]
        [how many|what] letters [are|] in {word}
        {word} spelling
        what's the [plural|past tense] of {word}
        is there an e in {word}
        pronounce {word}
        did i [spell|write] {word} [right|correctly]
        """, """
        I can't help with spelling.
        Spelling is outside what I can do.
        """),
    "translation": _category(1.0, """
        how do [you|i] say {expression} in {language}
        translate {expression} [into|to] {language}
        what's [the|] {language} [word|] for {expression}
        {expression} in {language} [please|]
        what does this [sign|sentence] say in [english|{language}]
        [could you|can you] [interpret|translate] [something|this] [from|to] {language} [for me|]
        what would [they|people] say for {expression} in {country}
        i [need|want] to [say|write] {expression} in {language}
        how would a {language} speaker say {expression}
        [teach|tell] me [a few|some] words in {language}
        """, """
        I can't translate.
        Translation is outside what I can do.
        """),
    "maths": _category(1.0, """
        what[ is|'s] {num} [times|plus|minus|divided by|x] {num2}
        {num} [+|-|*|/] {num2}
        [calculate|work out|compute] {num} percent of {num2}
        what's the square root of {num}
        is {num} a prime [number|]
        [solve|factor] x squared plus {num} x
        how much is [half|a third|a quarter] of {num}
        add [up|] {num} and {num2}
        what's the [tip|tax] on {num} [dollars|euros]
        split {num} [between|among] [four|five|six] people
        round {num} to the nearest [ten|hundred]
        how many [zeros|digits] in a [million|billion]
        what's the [area|perimeter] of a circle with radius {num}
        subtract {num} from {num2}
        """, """
        I can't do calculations.
        Maths is outside what I can do.
        """),
    "units": _category(0.9, """
        [convert|change] {num} {unit} [to|into] {unit2}
        how many {unit} [are|] in [a|{num}] {unit2}
        {num} {unit} in {unit2}
        what's {num} {unit} in {unit2}
        how [long|far|heavy|big] is {num} {unit} in {unit2}
        [is|are] {num} {unit} more than {num2} {unit2}
        i need {num} {unit} as {unit2}
        how much does a [cup|litre|gallon] of {food} weigh
        what's the metric [equivalent|version] of {num} {unit}
        {unit} to {unit2} conversion
        """, """
        I can't convert units.
        Unit conversion is outside what I can do.
        """),
    "currency": _category(0.9, """
        how much is {num} {currency} in {currency2}
        [convert|change|turn] {num} {currency} [to|into] {currency2}
        [what's|give me] the exchange rate [for|between] {currency} [and|to] {currency2}
        what are {currency} [worth|trading at] [now|these days|]
        {num} {currency} to {currency2}
        how many {currency} [do i get|would i get] for {num} {currency2}
        [is|did] the [dollar|pound|euro] [up|strong|fall] [against {currency}|]
        where can i [exchange|swap] {currency}
        is now a good time to buy {currency}
        do [you|they] [support|take|accept] {currency}
        """, """
        I can't look up exchange rates.
        Currencies are outside what I can do.
        """),
    "stocks": _category(0.8, """
        [what's|how's] {company} [stock|trading] [at|doing] [today|]
        {company} [stock|share] price
        how [is|did] the [market|dow|nasdaq|s&p] [doing|do|close]
        should i [buy|sell] [shares in|] {company} [stock|]
        [buy|sell] {num} shares of {company}
        did {company} go [up|down] [today|]
        how much are my [stocks|shares|investments] worth
        what's bitcoin [worth|at] [right now|]
        is {company} [paying|going to pay] a dividend
        how much is {company} worth
        tell me about {company} earnings
        """, """
        I can't look up stock prices.
        Stocks are outside what I can do.
        """),
    "world_time": _category(0.8, """
        what time is it [in {city}|in {country}|there|]
        [what's|tell me] the [current|local|] time [in {city}|in {country}|please|]
        [got|do you have] the time
        what [time zone|timezone] is {city} [in|on]
        how many hours [ahead|behind] is {country}
        is it [already|still] [night|morning|evening] in {country}
        time [difference|gap] between here and {country}
        what's the [gmt|est|pst|cet] time [now|]
        when do the clocks [go|change] [back|forward|]
        is {city} in the same time zone as {country}
        """, """
        I can't look up times around the world.
        The clock is not something I can read out.
        """),
    "dates": _category(0.7, """
        what['s| is] today's date
        what day [is it|of the week is it] [today|]
        what's the date [on|this coming] [saturday|sunday|monday] [again|]
        which [month|year|week number] [is it|are we in]
        how many days [until|till|before|to] {festival}
        when is {festival} [this year|next year|]
        is [it|this] a leap year
        what day [does|did] {festival} fall on
        is {festival} a [bank|public|federal] holiday
        how many [weeks|weekends] are there in [a year|july|october]
        """, """
        I can't answer questions about dates.
        Date questions are outside what I can do.
        """),
}

CATEGORIES |= {
    "assistant_identity": _category(1.2, """
        what['s| is] your name
        who [are|made|built|created|invented|programmed] you
        how old are you [actually|]
        where [are you|do you come|were you] from
        when [is|was] your birthday
        where do you live
        do you have [a family|parents|any siblings|kids|pets]
        [who's|who is] your [boss|maker|owner|father|mother]
        which [company|team] [do you work for|owns you]
        tell me [about yourself|who you are|something about you]
        are you a [boy|girl|man|woman]
        what [language model|kind of program] are you
        how [tall|smart|big] are you
        what do you [look like|do for a living]
        do you [have|get] any [friends|brothers|days off]
        may i ask who i am speaking [to|with]
        """, """
        I am an assistant for tasks, calendar changes, weather and e-mail.
        I am a small assistant program.
        """),
    "are_you_human": _category(0.8, """
        are you [human|a human|a real person|a bot|a robot|alive|real|an ai]
        am i [talking|speaking] to a [human|machine|person]
        [can|could] i [talk|speak] to [a real person|an agent|someone|a human]
        you're [just|only] a [robot|machine|program|computer], right
        do you [have|own] a [body|brain|soul|face|heart]
        is [there a|any] person [behind this|typing]
        prove [you're|that you are] [not|] a robot
        [get|put] me [through to|] a human
        do [machines|robots] like you dream
        so you're [not|] [human|a computer] then
        """, """
        I am a program, not a person.
        """),
    "assistant_feelings": _category(0.9, """
        how are you [doing|feeling|today|]
        do you [love|like|hate|miss|know] me
        are you [happy|sad|tired|bored|angry|hungry|ok|busy]
        do you [ever|] [sleep|dream|get bored|eat|feel pain]
        what do you [like|do] for fun
        what's your favourite [colour|song|movie|food|animal|book|team]
        [did|have] you [sleep|slept|had a good day]
        what are you [thinking about|wearing|doing|up to]
        do you believe in [god|love|ghosts|aliens|magic]
        how [has|is|was] your [day|weekend|morning|week] [been|going|]
        [would|will] you [marry|date] me
        can you feel [anything|love]
        what makes you [happy|sad]
        who's your best friend
        """, """
        I am a program, so I have no feelings or tastes.
        """),
    "assistant_settings": _category(1.0, """
        [change|switch] your [voice|accent|language]
        [speak|talk] [in|] {language} [please|]
        do you [speak|know|understand] {language}
        [talk|speak] [slower|faster|like a pirate|more clearly]
        [use|i want|give me] a [male|female|british|different] [voice|accent]
        set [the|your] language to {language}
        [go to|turn on|switch off] [whisper|silent|dark|quiet] mode
        [change|i want to change] your name to {name}
        can i call you {name}
        from now on [you are|your name is|i'll call you] {name}
        [call|address] me {name} [from now on|]
        reset [yourself|to factory settings|your settings]
        what [name|nickname] do you [use for|call] me
        do you know [who i am|my name]
        my name is {name}
        forget [everything|what] [i told you|you know about me]
        turn [on|off] [notifications|location|vibration|do not disturb|airplane mode]
        are you [always|] listening [to me|]
        """, """
        I can't change my settings.
        My voice, name and language stay as they are.
        """),
    "greetings": _category(1.1, """
        [hi|hello|hey|yo|howdy] [there|you|]
        good [morning|afternoon|evening|day] [to you|]
        [what's|whats] up
        [hiya|sup|hola|greetings|heya]
        [hi|hello|hey] [buddy|friend|robot|computer|assistant]
        nice to [meet|see] you
        [hey|hi] it's {name} [here|]
        are you [there|awake|around|ready|listening]
        long time no see
        [anyone|anybody] [there|home]
        how do you do
        i'm [back|home|here]
        wakey wakey
        [testing|test] one two
        """, """
        Hello, what can I do for you?
        Hi, how can I help?
        """),
    "goodbyes": _category(0.9, """
        [bye|goodbye|bye bye|see ya|see you] [later|now|for now|]
        good night [then|assistant|]
        [talk|speak] to you [later|soon]
        i['m| am] [off to bed|going now|leaving|heading out]
        catch you [later|around]
        that will be all for [now|tonight]
        [so long|farewell|cheerio|ciao|adios]
        have a [good|nice|great] [one|evening|weekend|night]
        [gotta|got to|have to] [go|run]
        until next time
        it was [nice|good|lovely] [talking|chatting] [to|with] you
        sleep [well|tight]
        """, """
        Goodbye.
        See you later.
        """),
    "compliments": _category(0.8, """
        you're [great|awesome|the best|so smart|amazing|hilarious|a star]
        [good|great|nice|excellent] [job|work|bot|answer]
        i [love|like|adore|appreciate] you
        well done [you|]
        you have a [nice|lovely|sexy] voice
        [impressive|brilliant|outstanding]
        you're [smarter|better|faster] than [siri|my boss|the other one]
        what would i do without you
        that was [really|very|so] [helpful|useful|kind of you]
        you [rock|rule|made my day]
        aren't you [clever|sweet|a darling]
        five stars for you
        """, """
        Thank you.
        That is kind of you.
        """),
    "insults": _category(0.8, """
        you're [stupid|useless|dumb|terrible|the worst|an idiot|so slow]
        [i hate you|you suck|you stink]
        what is wrong with you
        [wrong|that's wrong|incorrect] [again|]
        you [never|don't] [understand|listen|get it right]
        [worst|dumbest] [assistant|app|bot] ever
        shut [up|your mouth]
        [my toaster|a rock|my {animal}] is smarter than you
        you're [fired|getting on my nerves|annoying me]
        this [thing|app] is [garbage|broken|hopeless]
        [damn|darn|bloody] [robot|thing|machine]
        go [away|jump in a lake]
        i'm [going to|gonna] replace you
        this is not what i [asked for|wanted|meant]
        """, """
        I am sorry that I could not help.
        Sorry about that.
        """),
    "agreement": _category(0.9, """
        [yes|yeah|yep|yup|sure|ok|okay] [please|thing|then|that's right|]
        [of course|certainly|absolutely|definitely|indeed]
        [sounds|looks] [good|right|fine]
        [that's|you are|exactly] [right|correct|true]
        i [agree|think so|guess so]
        [go ahead|do it|alright]
        [fine|good] [by|with] me
        why not
        [affirmative|correct|true|roger that]
        [mhm|uh huh|aye]
        that works
        you got it
        """, """
        Alright, what would you like me to do?
        Okay, what can I do for you?
        """),
    "disagreement": _category(0.8, """
        [no|nope|nah|no way|not really] [thanks|sorry|]
        [that's|this is] [not right|false|wrong]
        i [don't think so|disagree|doubt it]
        [absolutely|definitely] not
        [no|nope] that's not [it|what i said]
        [not|no] [now|yet|today]
        i'd rather not
        [negative|false]
        not at all
        don't do that
        by no means
        """, """
        Okay, what would you like instead?
        Alright, tell me what you need.
        """),
    "undecided": _category(0.7, """
        [maybe|perhaps|possibly|probably] [later|not|so|]
        i [don't know|dunno|have no idea|am not sure]
        [it|that] depends [on {thing}|]
        let me [think|think about it|see]
        [could|might] be
        [either|whatever|anything] [is fine|works|you like]
        [hmm|um|er|well] [let me see|i'm not sure|]
        hard to say
        [i'll|i will] [get back to you|decide later]
        [six of one|you choose|your call|you pick]
        who knows
        """, """
        Take your time and tell me when you know.
        No hurry, let me know.
        """),
    "stop_cancel": _category(0.9, """
        [stop|cancel|quit|exit|abort|halt] [it|that|now|everything|]
        [be quiet|hush|silence|quiet please|zip it]
        [forget about|scrap|drop|forget] [it|that]
        [hold on|wait|hang on|one moment|just a sec]
        stop [talking|listening|right there]
        [turn|switch] yourself off
        i changed my mind
        go to sleep
        [enough|that's enough] [already|]
        undo [that|it|what you did]
        [start|begin] over
        not another word
        leave me alone [for a bit|]
        i didn't say anything
        """, """
        Okay.
        Alright, I am here when you need me.
        """),
    "repeat": _category(0.7, """
        [repeat|say] that [again|once more|] [please|]
        what did you [say|just say]
        [pardon|sorry|excuse me|come again|what] [me|]
        i [didn't|did not] [hear|catch|get] [that|you]
        can you [say|run] that [again|by me again] [slowly|more slowly|]
        [one more time|again] please
        what was [that|the last part|the last thing] [again|]
        i [missed|couldn't follow] what you [said|told me]
        could you kindly [rephrase|repeat] your last answer
        [huh|eh|what]
        """, """
        I have nothing to repeat; what do you need?
        There is nothing to repeat yet.
        """),
    "fragments": _category(1.0, """
        [the|a|my] {thing}
        {name} and [then|the|also]
        [asdf|qwerty|lkjh|blah blah|hjkl]
        {num}
        [and|but|so|because] [the|then|i|]
        {thing} {animal} {num}
        i was [just|gonna|going to]
        can [you|i] [the|]
        [uh|umm|ah|oh] [the|]
        {colour} {animal}
        what about [the|]
        [this|that|those] [one|thing]
        {word} {word2}
        on the {thing} [of|with] [the|a]
        how [much|many|come|]
        {name}
        if i [were|had]
        [is|are] [it|they|there]
        [lol|haha|hehe|wow|oh no|oops|ugh]
        """, """
        I did not understand that; what do you need?
        Sorry, I am not sure what you mean.
        """),
}

CATEGORIES |= {
    "opinions": _category(0.8, """
        what do you think [of|about] [{celebrity}|{movie}|{about}|pineapple on pizza]
        [which|who] is better, {company} or {shop}
        do you prefer [{animal}s or cats|tea or coffee|{genre} or {genre2}]
        is {movie} [any good|worth watching|overrated]
        who should [win|i vote for]
        [cats|{language}] or [dogs|{language2}], which one [would you pick|]
        is {country} a [nice|safe|cheap] [place|country]
        [in your opinion|honestly] is {artist} [better|more talented] than {artist2}
        what's the best [{sport} team|{genre} song|{cuisine} restaurant] ever
        i think {celebrity} is [overrated|a genius|funny]
        are {animal}s [cute|dangerous|smarter than us]
        """, """
        I have no opinions on that.
        I don't take sides.
        """),
    "small_talk": _category(1.1, """
        i['m| am] [so|really|very|feeling|] {mood} [today|]
        i had a [great|terrible|long|weird|rough] day [at work|at school|]
        my [boss|neighbour|sister|cat] is [driving me crazy|mad at me|so sweet]
        [guess what|you won't believe it], i [got a raise|passed my exam|won]
        [work|school|life] is [hard|boring|good|killing me] [lately|]
        i just [woke up|got home|had lunch|finished {book}]
        nobody [likes|understands|listens to] me
        [thank god|finally] it's [friday|the weekend]
        i [love|hate] [mondays|my job|{food}|{genre}]
        [today|this week] has been [a nightmare|wonderful|really long]
        i can't [sleep|stop laughing|believe it]
        let's [chat|talk|have a conversation] [about {about}|]
        the kids [are finally asleep|won't listen|broke the {device}]
        i don't feel like [cooking|working|getting up] today
        i miss [{person}|home|my dog]
        we went to {city} [once|last year] and [loved it|got lost]
        """, """
        Thanks for telling me.
        I see, I am here if you need something.
        """),
    "love_life": _category(0.7, """
        how do i know if {name} [likes|loves] me
        [my girlfriend|my boyfriend|{name}] [broke up with|dumped|ghosted] me
        [find|get] me a [date|girlfriend|husband]
        should i [ask {name} out|get married|break up with {name2}]
        i'm in love with {name}
        what [do i|should i] say on a first date
        is {name} [cheating on me|the one|single]
        how [do|can] i get over [my ex|{name}]
        give me a [pick up|chat up] line
        what's a good [anniversary|valentine's] [gift|present] for [him|her|{person}]
        am i [going to die alone|pretty]
        """, """
        I can't help with matters of the heart.
        Love is outside what I can do.
        """),
    "philosophy": _category(0.7, """
        what[ is|'s] the meaning of [life|it all|my life]
        why [are we|am i] here
        is there [life after death|free will|a purpose]
        what [is|happens when we find] [happiness|truth|love|consciousness]
        are we living in a simulation
        if a tree falls [in the forest|] does it make a sound
        which came first, the chicken or the egg
        what happens [when|after] we die
        will [robots|machines] [take over|rule] the world
        do we really exist
        can money buy happiness
        tell me the secret [of|to] [life|a good life|success]
        """, """
        I have no answer to that.
        That is a question for people, not for me.
        """),
    "balance": _category(1.1, """
        [what's|how much is] my [{account}|] [account|] balance
        how much [money|cash] [do i have|is there] in [my|the] {account} [account|] [at {bank}|]
        do i have [enough|{num} dollars] in my {account} account [for {product}|]
        show [me|] my [last|recent|latest] [transactions|purchases|charges] [on my {bank} card|]
        how much did i spend [on groceries|at {shop}|on {food}|] [last month|this week|]
        [check|tell me|read out] {account} [account|] balance
        what did i [pay|buy] [last|recently] [at|from] {shop}
        is my {bank} account [overdrawn|blocked|frozen]
        has my [salary|paycheck|deposit] [arrived|come in|cleared]
        there's a [charge|payment] of {num} [on my account|] i [don't recognize|didn't make]
        [freeze|block|unfreeze] my {account} account
        what's the [routing|account] number [of|for] my {bank} account
        order [new|more] checks for my {account} account
        how do i [open|close] [a|my] {account} account [at {bank}|]
        """, """
        I can't see bank accounts.
        Banking is outside what I can do.
        """),
    "transfers": _category(1.0, """
        [transfer|move|send] {num} [dollars|euros|bucks] from {account} to {account2}
        [send|pay|give] {name} {num} [dollars|bucks|pounds] [on venmo|with paypal|through zelle|]
        i [want|need|would like] to [transfer|wire] [money|{num}] to {bank}
        why [hasn't my [transfer|payment] [arrived|gone through]|has my [transfer|payment] [failed|been declined]]
        how long does a [transfer|wire] to {country} take
        is there a [fee|charge|limit] for [sending money|transfers] [abroad|to {country}|]
        [cancel|stop|reverse] [my|the last] [payment|transfer] to {name}
        can i top up [my account|with {bank}] [by card|]
        split {num} [dollars|] with {name} and {name2}
        request {num} from {name}
        my top up [is pending|was reverted|did not work]
        put {num} [from my {account}|] into [my|] savings
        who can [top up|send money to] my account
        """, """
        I can't move money.
        Money transfers are outside what I can do.
        """),
    "cards": _category(1.1, """
        [i lost|i can't find|someone stole] my [{bank}|debit|credit] card
        [why was|how come] my card [was|got|] declined [at {restaurant}|at {shop}|]
        [change|reset|i forgot] my [pin|pin code|passcode]
        my [new|replacement] card [hasn't|still has not] [come|arrived]
        [activate|block|cancel|freeze] my [{bank}|credit|debit] card
        what's my credit limit [on {bank}|]
        [raise|increase] my [credit|spending] limit
        when does my [card|{bank} card] expire
        i'd like to [apply for|order] a [new|second|virtual|travel] [credit|] card
        the [atm|machine] [swallowed|ate|kept] my card
        what's the [apr|interest rate|annual fee] on my [{bank}|] card
        my card is [damaged|bent|not working]
        can i use my card in [{country}|{city}]
        does apple pay work with {bank}
        how do i verify my [identity|card]
        """, """
        I can't help with cards.
        Bank cards are outside what I can do.
        """),
    "fees_refunds": _category(0.8, """
        why [was i|did you] charge[d|] [a fee|twice|extra|{num}]
        [i want|give me|how do i get] [a refund|my money back] [from {shop}|]
        where is my refund [from {company}|]
        is there [a|any] [monthly|foreign|late] fee [at {bank}|]
        i was charged [for|] {num} [dollars|] [at|by] {shop} [by mistake|]
        dispute [a|the] [charge|payment] [from {company}|]
        how much [are|is] the [overdraft|atm|exchange] fee[s|]
        my statement shows [an extra|a strange|a double] [charge|fee]
        the [cash machine|atm] gave me [the wrong amount|less than {num}]
        report fraud on my [{bank}|{account}] account
        can i return {product} [without a receipt|]
        """, """
        I can't help with charges or refunds.
        Fees and refunds are outside what I can do.
        """),
    "credit_loans": _category(0.8, """
        what['s| is] my credit [score|rating]
        how [do|can] i [improve|raise|build] my credit [score|]
        can i [get|afford] a [loan|mortgage] [of {num} thousand|at {bank}|]
        what [are|is] the [mortgage|interest] rate[s|] [at {bank}|today|]
        how much [do i owe|is left] on my [car loan|student loan|mortgage]
        what's [the|my] minimum payment [on my {bank} card|]
        should i refinance [my {car}|my house|]
        will [a late payment|closing a card] hurt my [credit|] score
        apply for a [personal|home|business] loan
        what credit score do i need for a {bank} card
        is my loan [application|] approved [yet|]
        """, """
        I can't help with credit or loans.
        Loans are outside what I can do.
        """),
    "taxes_insurance": _category(0.8, """
        how much [tax|income tax] do i [owe|pay] [in {country}|]
        [what's|when is] the [tax deadline|tax season]
        does my insurance [cover|pay for] [a {car}|{symptom}|physical therapy|glasses]
        how [do|can] i [change|cancel|switch] my [health|car|home] [insurance|plan]
        what['s| is] my [deductible|premium|co-pay]
        am i insured [in {country}|for flooding|]
        where do i find my [insurance|policy] number
        can i [deduct|write off] my [{car}|laptop|rent]
        what tax bracket am i in
        which insurance [is cheapest|should i get] for a {car}
        what's the sales tax in {city}
        how do i file a claim [for my {car}|]
        """, """
        I can't help with taxes or insurance.
        Taxes and insurance are outside what I can do.
        """),
    "work_pay": _category(0.9, """
        when [do i|will i] get paid [next|again|]
        when['s| is] [payday|my next paycheck]
        how [much|many] [pto|vacation|holiday|sick] [days|] [do i have|have i got] [left|]
        has my [pto|vacation|time off] [request|] been approved
        where [is|can i find] my [w2|payslip|p60|pay stub]
        what's in my 401k
        how do i roll over my 401k [from {company}|]
        [increase|change] my 401k contribution
        put in a [pto|leave] request for me
        what [are|is] my [income|salary|hourly rate|withholding]
        set up direct deposit [with|at] {bank}
        how many [hours|vacation days] have i [worked|used] so far
        am i going to get a [raise|bonus]
        who is [my|the] hr [contact|manager]
        """, """
        I can't look up pay or leave.
        Payroll and leave are outside what I can do.
        """),
    "bills": _category(1.0, """
        pay [my|the] {bill} [now|for me|]
        how much is [my|the] {bill} [this month|]
        when is [my|the] {bill} due
        what bills [do i have|are due|are coming up]
        [use|take] my {account} account [for|to pay] the {bill}
        did [i|we] [already|] pay the {bill}
        can you [take care of|settle] the {bill} [from {account}|for me|]
        why is my {bill} so high
        how much did i pay for the {bill} last month
        set up autopay for [my|the] {bill}
        [i'd like|i want] you to pay my {bill}
        what's the minimum on my {bank} bill
        """, """
        I can't pay or look up bills.
        Bills are outside what I can do.
        """),
}

CATEGORIES |= {
    "flights": _category(1.0, """
        [find|book|get] me a [flight|cheap flight|plane ticket] [from {city}|] to {city2}
        [is|has] flight {num} [on time|delayed|landed|boarding]
        how [much|long] is a flight [from {city}|] to {city2}
        [what gate|which terminal] does [flight {num}|{airline}] [leave|depart] from
        does {airline} fly [direct|] to {city}
        [check|status of] [my|] {airline} flight
        i['m| am] looking for a [round trip|one way] [ticket|flight] [with {airline}|] to {country}
        when does my [plane|flight] [land|board|take off]
        check me in for [my flight|flight {num}]
        upgrade [me|my seat] to business class
        any [layovers|stops] on [flight {num}|the way to {city}]
        fly me to {city}
        [cheapest|fastest] way to fly to {country}
        """, """
        I can't look up or book flights.
        Flights are outside what I can do.
        """),
    "hotels": _category(0.9, """
        [find|book|reserve] [me|] a [hotel|room] in {city} [near the airport|for two|]
        [any|are there] [good|cheap] hotels [in|near|around] {city}
        does the {hotel} have [a pool|breakfast|parking|a gym]
        i need [somewhere|a place] to stay in {city}
        how much is a [room|night] at the {hotel}
        [what are|read me] the reviews [of|for] the {hotel} [in {city}|]
        what time is check [in|out] at the {hotel}
        cancel my [room|booking] at the {hotel}
        are [dogs|pets|kids] allowed at the {hotel}
        a [suite|double room] [with a sea view|] in {city} please
        recommend a [bed and breakfast|campsite|resort] [in {country}|]
        is the {hotel} [any good|fully booked]
        """, """
        I can't find or book hotels.
        Hotels are outside what I can do.
        """),
    "car_rental": _category(0.7, """
        [rent|hire] [me|] a [car|van|truck|{car}] in {city}
        how much [is it|does it cost] to rent a {car}
        where can i [rent|hire] a car [near {city}|]
        i [need|want] a rental [car|] [from hertz|from avis|at the airport|]
        do i need [insurance|a deposit] for a rental car
        can i drop the rental off in {city}
        how old do you have to be to rent a car [in {country}|]
        extend my [car|] rental
        find the cheapest [rental car|car hire] [in {country}|]
        get me a convertible [for the weekend|] in {city}
        """, """
        I can't rent cars.
        Car rental is outside what I can do.
        """),
    "travel_rules": _category(0.9, """
        do i need a [visa|passport|vaccine|shot] [for|to visit|to go to] {country}
        how [do i get|long does it take to get] a visa for {country}
        [is it|is {country}] safe to [travel|go] [there|to {country2}|] [alone|now|]
        are there [any|] travel [alerts|warnings|advisories] for {country}
        [tell|let] my bank [know|that] i'm [going to|travelling to|in] {country}
        how [many bags|much luggage|many carry ons] [can i take|do they allow] on {airline}
        {airline} lost my [luggage|bag|suitcase]
        what [plug|adapter|socket] do [they use|i need] in {country}
        can i bring [{food}|a {animal}|liquids] on [a plane|{airline}|board]
        what [language do they speak|currency do they use|language is spoken] in {country}
        what should i pack for {country}
        which shots do [we|i] need before {country}
        my suitcase did not [arrive|come off the belt] in {city}
        when does my passport expire
        """, """
        I can't help with travel rules.
        Travel advice is outside what I can do.
        """),
    "travel_ideas": _category(0.7, """
        what [should|can] i [see|do|visit] in {city}
        [plan|organize] a [trip|weekend|honeymoon] to {country} for me
        what is {city} [famous|known] for
        [best|nicest] [beaches|museums|sights] in {country}
        where should [i|we] go on [holiday|vacation]
        [any|are there] fun [things to do|activities|places] [in|around] {city} [with kids|]
        which is the best [month|time of year] to see {country}
        give me [some|three] travel tips for {city}
        is {city} worth [a visit|seeing]
        tell me about [tourist spots|landmarks|nightlife] in {city}
        """, """
        I can't give travel tips.
        Trip ideas are outside what I can do.
        """),
    "directions": _category(1.0, """
        [how do i get|directions|navigate|take me] to [the nearest {spot}|{city}|{restaurant}]
        how [far|long a drive] is [it to {city}|{city2} from here|{city2}]
        where['s| is] the [nearest|closest] {spot}
        [find|show me] a {spot} [near me|nearby|around here|on the way home]
        what's the [fastest|quickest|best] [way|route] [home|to work|to {city}]
        where am i [right now|]
        [share|send] my location [with|to] {name}
        show [me|] [{city}|{country}|the {spot}] on [a|the] map
        is there a {spot} [within walking distance|open now|in {city}]
        what's the address of [the|] {restaurant}
        how long [would|will|does] it take [me|] to [walk|drive|bike] to the {spot}
        am i going the right way
        avoid [tolls|highways]
        what time does the {spot} [open|close]
        """, """
        I can't give directions.
        Maps and directions are outside what I can do.
        """),
    "traffic_parking": _category(0.8, """
        how['s| is] [the|] traffic [to work|on the highway|in {city}|right now|]
        is there [any|much|heavy] traffic [on the way to {city}|downtown|]
        [any|are there] [accidents|roadworks|delays] on [my route|the {num}|route {num2}]
        where [can|did] i park [my {car}|]
        how much is parking [at the {spot}|downtown|in {city}]
        is there [free|street|covered] parking [near|at] {restaurant}
        is the bridge [open|closed]
        [how|is it] busy [is it|] on the roads [now|]
        is my [usual|] commute [clear|slow] [this morning|]
        pay for [two hours of|my] parking
        """, """
        I can't check traffic or parking.
        Traffic is outside what I can do.
        """),
    "taxi": _category(0.8, """
        [call|get|order] me [an uber|a taxi|a cab|a lyft]
        [book|hail] a [cab|taxi|car] [to|from] the [airport|{spot}|station]
        how much [is|for] [an uber|a taxi] to [{restaurant}|{city}]
        where['s| is] my [driver|uber|lyft|cab]
        i need a [ride|lift] [home|to the {spot}|to {city}]
        how many minutes until my [driver|ride] [is here|gets here]
        cancel [the|my] [uber|ride|taxi]
        tip my driver {num} [dollars|percent|]
        are there [any|] [cabs|lyfts] [around|nearby]
        is a taxi cheaper than an uber in {city}
        """, """
        I can't order rides.
        Taxis are outside what I can do.
        """),
    "trains_buses": _category(0.9, """
        [when|what time] [is the [next|last] [train|bus] [to {city}|home|]|does the first [train|bus] [to {city2}|] leave]
        [book|buy|get] [me|] [a|two] train ticket[s|] [from {city}|] to {city2}
        is the [{num}|] bus [late|on time|running]
        which [platform|line|bus] [is it|do i take] [for|to] {city}
        how [much|long] is the [train|bus|ferry] to {city}
        is there a [direct|night] train [from {city}|] to {city2}
        [look up|give me] the [bus|train|tram] [timetable|times] [for {city}|]
        are the [trains|tubes|subways] running [today|normally|]
        where do i change trains for {city}
        does the [ferry|shuttle|metro] stop at the {spot}
        can i take [a bike|my {animal}] on the train
        """, """
        I can't look up or book trains and buses.
        Public transport is outside what I can do.
        """),
    "car_care": _category(1.0, """
        [how do i|how to] [change|check] [the oil|a tire|the battery|my brakes] [on my {car}|]
        [when|how often] should i [change|rotate] [my|the] [oil|tyres|tires]
        what['s| is] the [tyre|tire] pressure [of|for|on] my {car}
        what [mileage|mpg|gas mileage] does [my|a] {car} get
        why is [my|the] check engine light on
        my {car} [won't start|makes a strange noise|broke down|has a flat]
        what [kind of|] [oil|gas|fuel] does my {car} [take|need|use]
        how [much gas|many miles] [is|do i have] left in [the|my] [tank|{car}]
        where can i get [cheap|] gas [near {city}|around here|]
        how do i jump start [my|a] {car}
        how many miles [are|] on my {car}
        is [low tire pressure|an old battery] dangerous
        when was my {car} last [serviced|in the shop|inspected]
        what do gas prices look like [today|in {city}]
        what size [tyres|wipers|bulbs] does my {car} take
        """, """
        I can't help with cars.
        Cars are outside what I can do.
        """),
}

CATEGORIES |= {
    "restaurants_find": _category(0.9, """
        [find|show] me [a|some] [good|cheap|] {cuisine} [place|restaurant|places] [near me|in {city}|nearby|]
        where can [i|we] [get|eat] [good|decent|] {dish} [around here|in {city}|]
        [how's|is] {restaurant} [any good|]
        what [are the reviews for {restaurant}|kind of reviews does {restaurant2} get]
        is {restaurant} [open|busy|still open] [now|]
        what's on the menu at {restaurant}
        i'm [hungry|starving], [any ideas|where should i eat]
        what [time|hour] does {restaurant} [close|open]
        does {restaurant} [have|serve|do] [{dish}|{cuisine} food|vegan options|takeaway]
        [best|top rated] {dish} in {city}
        how many stars does {restaurant} have
        anywhere [nice|quiet] [to eat|for {cuisine} food] around {city}
        """, """
        I can't search for restaurants.
        Restaurants are outside what I can do.
        """),
    "restaurants_book": _category(0.9, """
        [get|find] me a table [for {num}|for two|] at {restaurant}
        [make|i need|i'd like] a reservation [for four|for {num} people|] at [{restaurant}|a {cuisine} restaurant in {city}]
        [does|can i make] {restaurant} take reservations
        [cancel|change] my [table|dinner] reservation at {restaurant} please
        can we [have|get] a [window table|booth] at {restaurant}
        is my [booking|reservation|table] at {restaurant} confirmed
        reserve [seats|a spot] for [six|me and {name}] at a {cuisine} [bistro|bar|place]
        how long is the wait at {restaurant}
        i want to eat {dish} at [a|some] [brasserie|tavern|diner] in {city} with {person}, get us a table
        any tables left at {restaurant}
        """, """
        I can't reserve tables.
        Restaurant bookings are outside what I can do.
        """),
    "food_delivery": _category(0.8, """
        order [me|us|] [a|some] {dish} [from {restaurant}|]
        get [me|] [{cuisine} food|{dish}] delivered [to my house|]
        does {restaurant} [deliver|do delivery|have takeout]
        where['s| is] my [food|pizza|delivery|order]
        [i'd like|can i have] a [large|small] pizza [with {food}|]
        order [takeout|takeaway|lunch] from {restaurant}
        how long [until|till] my [food|{dish}] [gets here|arrives]
        i [want|feel like] {dish} [brought to my door|for delivery]
        the usual from {restaurant} please
        reorder my last meal [from {restaurant}|]
        is [there|] [free|] delivery [from|at] {restaurant}
        """, """
        I can't order food.
        Food delivery is outside what I can do.
        """),
    "recipes": _category(1.0, """
        how [do i|do you|to] [make|cook|prepare] {dish}
        [give|find|show] me a [recipe|good recipe|simple recipe] for {dish}
        what [ingredients|] do i need [for|to make] {dish}
        what can i [make|cook] with {food} and {food2}
        [suggest|recommend] something for dinner [with {food}|]
        what's [the|] next step [in the recipe|]
        is there [meat|dairy|gluten|{food}] in {dish}
        what goes well with {dish}
        [walk|talk] me through [making|cooking] {dish}
        can you tell me what's in {dish}
        [easy|quick] {dish} recipe
        i'd like to learn to bake {dish}
        what country is {dish} from
        """, """
        I can't look up recipes.
        Recipes are outside what I can do.
        """),
    "nutrition": _category(0.8, """
        how many calories [are|] in {food}
        [is|are] {food} [healthy|good for me|bad for you|fattening]
        how much [sugar|protein|fat|iron|sodium] is in {dish}
        calories [in|of] {dish}
        does {food} have [gluten|carbs|vitamin c|fibre] [in it|]
        what's the [nutrition|nutritional value] of {food}
        how [healthy|bad] is {dish}
        can i eat {food} on a [keto|low carb|vegan] diet
        log {food} [for breakfast|in my food diary]
        how many [calories|carbs] should i eat [a day|to lose weight]
        which has more protein, {food} or {food2}
        """, """
        I can't look up nutrition.
        Nutrition is outside what I can do.
        """),
    "cooking": _category(0.9, """
        how long [do i|should i] [cook|bake|boil|fry|roast] {food} [for|]
        [can i use|what can i use instead of] {food} [if i'm out of {food2}|instead of {food2}|]
        what's a [good|] substitute for {food}
        [is|are] {food} still [good|ok to eat|safe] after [a week|{num} days|]
        what temperature [do i|should i] [cook|bake] {dish} [at|]
        how do i [store|freeze|defrost|peel] {food}
        when is {dish} [done|ready]
        how long does {food} [last|keep] [in the fridge|]
        can {food} be swapped [for|with] {food2} in {dish}
        do i have to [wash|soak|salt] {food} first
        my {dish} came out too [dry|salty|sweet]
        does {food} [go bad|expire]
        """, """
        I can't help with cooking.
        Cooking is outside what I can do.
        """),
    "movies": _category(1.0, """
        who [directed|starred in|is in|wrote the music for] {movie}
        [recommend|suggest] [me|] a [good|scary|funny] [movie|film]
        [is|was] {movie} [any good|a hit|based on a true story]
        what['s| is] {movie} about
        play [the trailer of|the movie|] {movie} [on {app}|]
        when [did|does] {movie} come out
        how long is [the film|] {movie}
        [what|which] movies [has|is] {celebrity} [been in|in]
        find [the|a] [movie|film|soundtrack] [called|] {movie}
        how [does|did] {movie} end
        did {movie} win [an|any] oscar[s|]
        i [loved|hated|cried at] {movie}
        what [rating|age limit] does {movie} have
        """, """
        I can't look up films.
        Films are outside what I can do.
        """),
    "showtimes": _category(0.8, """
        [when|where|what time] is {movie} [playing|showing|on] [near me|in {city}|]
        what['s| is] [playing|on|showing] at the [cinema|movies|theatre] [in {city}|]
        [movie|show] times [for {movie}|near me|]
        get [me|us] [two|{num}|] tickets [for|to] {movie}
        which [theatre|cinema] [shows|is showing] {movie}
        find [me|] [the|a] [movie schedule|film schedule] [around here|for {city}]
        is {movie} still in [theaters|cinemas]
        are there [any|] [seats left|late showings] for {movie}
        what animated [films|movies] [can i see|are on] [around here|nearby]
        is {movie} playing in 3d
        """, """
        I can't look up cinema times.
        Cinema listings are outside what I can do.
        """),
    "books": _category(0.9, """
        who [wrote|is the author of] {book}
        [rate|give] {book} [{num} stars|a five|four out of six|zero points]
        [recommend|find] me [a book|something to read] [about {about}|like {book}|]
        i [give|would give|rate] [this|the current] [book|novel|textbook] [a three|{num} points|five stars]
        how many pages [are in {book}|does {book2} have]
        what['s| is] {book} about
        is there a sequel to {book}
        [search for|look up|find] [the book|the novel|the saga|] {book}
        when was {book} [published|written]
        the [last|previous] [essay|novel] [gets|deserves] [two|three] [points|stars]
        which [book|one] should i read first, {book} or {book2}
        how much is {book} on {shop}
        has {person} read {book}
        """, """
        I can't look up or rate books.
        Books are outside what I can do.
        """),
    "games": _category(0.8, """
        [let's|i want to|can we] play {game}
        [start|open|launch] [a game of|] {game}
        [how do you|teach me how to|rules for] play {game}
        do you [know|have] any [good|] games
        i spy with my little eye
        play [a|some] game[s|] with me
        [how do i|help me] [beat|win at|get past level {num} in] {game}
        you go first in {game}
        [what's the|who has the] [high|best] score in {game}
        is {game} out [on|for] [pc|switch|mac] [yet|]
        {game}, your move
        find the video game {game}
        """, """
        I can't play games.
        Games are outside what I can do.
        """),
    "sports": _category(1.1, """
        [did|have] the {team} [win|won|lose|lost] [last night|yesterday|]
        what['s| is| was] the [score|final score] [of the {team} game|]
        when do the {team} play [next|again]
        who [won|is winning|is playing in] the [{sport}|{team}] [game|match|final]
        what [place|position] are the {team} in
        {team} [score|result|standings]
        who['s| is] the [coach|captain|best player|owner] of the {team}
        how many [goals|points|titles] have the {team} [got|scored|won]
        did the {team} [sign|trade] anyone
        explain the rules of {sport}
        any {sport} [results|on tv|scores] [today|tonight|]
        are the {team} [any good|playing|winning] [this season|]
        who holds the world record in {sport}
        go {team}
        i [play|hate|love] {sport}
        """, """
        I can't look up sports.
        Sport is outside what I can do.
        """),
}

CATEGORIES |= {
    "celebrities": _category(0.9, """
        how [old|tall|rich] is {celebrity}
        who is {celebrity} [married to|dating|]
        [when|where] was {celebrity} born
        is {celebrity} [still alive|married|dead|single|vegan]
        what['s| is] {celebrity} [famous|known] for
        how many [kids|children|awards] does {celebrity} have
        tell me about {celebrity}
        what['s| is] {celebrity}'s [real name|net worth|birthday|latest film]
        where does {celebrity} live
        [show me|find] [a picture|pictures|photos] of {celebrity}
        did {celebrity} [really|] [retire|get divorced|go to college]
        {celebrity} or {celebrity2}, who is [older|taller|richer]
        """, """
        I can't look up people.
        Celebrities are outside what I can do.
        """),
    "history": _category(0.8, """
        who was {figure}
        [when|how] did {figure} [die|live|become famous]
        what [caused|started|ended] {happening}
        when [was|did] {happening} [happen|begin|over]
        tell me about {happening}
        who [discovered|ruled|founded] {country}
        did {figure} [have children|ever meet {figure2}|write this]
        [how|why] did {happening} [start|matter]
        who was [the|] [first|third|last] [president|king|emperor] of {country}
        what was {figure} [best known for|like]
        where is {figure} buried
        how many people [died in|lived through] {happening}
        """, """
        I can't answer history questions.
        History is outside what I can do.
        """),
    "geography": _category(0.9, """
        what['s| is] the capital [city|] of {country}
        [how many people|who] live[s|] in [{country}|{city}]
        where is {country} [on the map|]
        [what's|name] the [longest|biggest|highest] [river|lake|mountain] in {country}
        which [continent|state|country] is {city} in
        how [big|far away|old] is {country}
        what countries border {country}
        is {country} [in europe|bigger than {country2}|an island]
        what['s| is] the population of [{city}|{country}]
        what [ocean|sea] is next to {country}
        who is the [president|king|prime minister] of {country}
        what does the flag of {country} look like
        """, """
        I can't answer geography questions.
        Geography is outside what I can do.
        """),
    "science": _category(0.9, """
        what [is|causes] {science}
        [how does|explain] {science} [work|to me]
        how [far|big|hot] is the [sun|moon|earth]
        why is the sky blue
        who [discovered|invented] [{science}|the telephone|penicillin|the wheel]
        what['s| is] the [chemical symbol|boiling point|atomic number] of [gold|iron|helium|lead]
        how many [planets|stars|elements] are there
        [can|could] we [live on mars|travel in time|clone a {animal}]
        what[ is|'s] the speed of [light|sound]
        why do [leaves change colour|cats purr|stars twinkle|we yawn]
        how is {science} [measured|different from {science2}|formed]
        is pluto [still|] a planet
        what [are|is] [clouds|glass|steel|the moon] made of
        """, """
        I can't answer science questions.
        Science is outside what I can do.
        """),
    "health": _category(1.0, """
        i have {symptom} [what should i do|]
        what['s| is] good for {symptom}
        [what|how] [do i|can i] [do about|treat|get rid of] {symptom}
        is {symptom} [dangerous|serious|contagious]
        should i see a doctor [about|for] {symptom}
        how [many hours of sleep do i need|much water should i drink|many steps should i walk] [a day|]
        can i take [ibuprofen|aspirin|vitamins] [with|for] {symptom}
        what are the [symptoms|side effects] of [the flu|covid|diabetes|aspirin]
        how [do i|can i] [lose weight|sleep better|quit smoking|build muscle]
        what['s| is] [my|a normal] [heart rate|blood pressure|bmi]
        how many [calories did i burn|steps have i done|steps did i walk] [today|]
        i [think i|might] [broke|sprained|twisted] my [ankle|wrist|toe]
        is [yoga|running|{food}] good for [my back|the heart|{symptom}]
        find me a [dentist|doctor|therapist] [near me|in {city}|who takes my insurance]
        which shots does a [baby|toddler|puppy] need
        """, """
        I can't give health advice.
        Please ask a doctor about that.
        """),
    "phone": _category(0.9, """
        [find|where is|locate|i lost] my [phone|keys|tablet]
        [ring|make] my phone [so i can find it|ring|]
        how much battery [do i have|is left] [on my phone|]
        my phone [is frozen|won't charge|fell in the sink|is slow]
        [turn on|activate] the flashlight
        is my phone [charging|fully charged|backed up]
        take a [screenshot|selfie|picture]
        i can't [find|see] my phone anywhere
        what['s| is] my phone number
        how do i [block a number|change my ringtone|update my phone|clear the cache]
        lower the [screen|display] brightness
        unlock my [phone|sim]
        how much [data|storage] have i [used|got left]
        """, """
        I can't reach your phone.
        Phone functions are outside what I can do.
        """),
    "orders": _category(1.0, """
        where['s| is] my [order|package|parcel|{shop} order]
        [track|status of] [my|the] [package|order|delivery] [from {shop}|number {num}|]
        [has|did] my [package|order|{shop} order] [shipped|arrive|been delivered|come]
        order [me|] {product} [from|on] {shop}
        when will {product} [arrive|be here|be delivered]
        how much [is {product} on {shop}|does {product2} cost at {shop2}]
        [find|show] me [the cheapest|deals on|reviews of] {product}
        [cancel|return|change] my [{shop}|last] order
        reorder {product}
        is {product} [in stock|on sale] at {shop}
        put {product} in my [{shop}|] [cart|basket]
        does {shop} [ship|deliver] to {country}
        [they|{shop}] sent me the wrong [size|colour|thing]
        what did i [order|buy] from {shop} [last|]
        my parcel was [stolen|damaged|left with a neighbour]
        """, """
        I can't shop or track orders.
        Shopping is outside what I can do.
        """),
    "rewards": _category(0.7, """
        how many [points|miles|rewards] [do i have|have i earned] [with {airline}|on my {bank} card|]
        [redeem|use] my [points|miles|stars] [for {product}|at {shop}|]
        what can i get [for|with] my [points|rewards]
        when do my [{airline}|{hotel}|] [miles|points] expire
        do i [earn|get] [points|cash back] [at|with] {shop}
        my rewards balance
        is there a [coupon|promo code|discount] for {shop}
        [join|sign me up for] the {shop} [loyalty|rewards] [program|club]
        which {bank} card [has|gives] the best [rewards|cash back]
        turn my points into [miles|cash|a gift card]
        """, """
        I can't look up rewards.
        Rewards points are outside what I can do.
        """),
    "apartments": _category(0.7, """
        [find|show] me [an apartment|a flat|a house|a studio] in {city} [with a balcony|under {num}|]
        how much is [rent|a two bedroom|a house] in {city}
        are there [any|] [apartments|rooms] [for rent|to let] [near {spot}|in {city}|]
        what's my [house|flat] worth
        which [neighbourhood|part] of {city} is [safe|cheap|nice]
        how do i [break|read] my lease
        can my landlord [raise the rent|keep my deposit]
        i'm looking for a roommate [in {city}|]
        what [deposit|down payment] do i need for [a house|an apartment]
        is it better to [rent|buy] [in {city}|]
        """, """
        I can't search for homes.
        Housing is outside what I can do.
        """),
    "party_ideas": _category(0.7, """
        give me [some|a few] ideas for [a|{name}'s] [birthday|hen|surprise|garden] party
        what should i [wear|bring|cook] [to|for] [a wedding|a barbecue|{festival}]
        what [do i|should i] [get|buy|give] {person} for [christmas|{festival}|a birthday]
        how much [food|wine] do i need for {num} [guests|people]
        what's a good [theme|playlist|cake] for a [baby shower|kids party]
        how do other people celebrate {festival}
        think of a costume for {festival}
        who should [i|we] invite to [our|the] {festival} party
        where can [i|we] [hold|host] a party [for {num}|in {city}]
        how do i decorate the {room} for {festival}
        """, """
        I can't plan parties.
        Party ideas are outside what I can do.
        """),
    "tickets_nearby": _category(0.8, """
        [what's|anything] [happening|going on] [in {city}|near me|around here] [tonight|this weekend|]
        [are there any|find] [concerts|festivals|shows|fairs] [in {city}|nearby|near me]
        [get|buy|find] [me|] [two|] tickets [for|to] [{artist}|the {team} game|a musical]
        when is {artist} [coming to|playing in|playing near] {city}
        is {artist} [on tour|playing nearby]
        how much are tickets [for|to] [{artist}|the {team}]
        what [plays|exhibitions|gigs] are on in {city}
        where [can|do] i [buy|get] {artist} tickets
        what is there to do [in {city}|around here] [with kids|for free|]
        is the {artist} [show|concert] sold out
        """, """
        I can't find events or tickets.
        Tickets are outside what I can do.
        """),
    "social_media": _category(0.9, """
        [post|share] [this|a photo|that i'm {mood}] [on|to] {network}
        tweet [that i'm {mood}|at {company}|hello]
        [how many|any new] [likes|followers|comments] [do i have|] on {network}
        update my [status|{network} status|profile]
        [check|open] my {network} [feed|account|notifications]
        what's trending [on {network}|]
        [complain|tweet a complaint] [to|about] [{company}|{airline}|{restaurant}]
        did {name} [like|comment on] my [post|picture]
        [follow|unfollow|block] {name} on {network}
        what is {person} [posting|saying] on {network}
        say happy birthday to {name} on {network}
        who [viewed|tagged] me on {network}
        delete my [last|] [tweet|post|{network} account]
        """, """
        I can't use social media.
        Social media is outside what I can do.
        """),
}

CATEGORIES |= {
    "photos": _category(0.7, """
        [show|find] me [photos|pictures|videos] [of {person}|from {city}|of my {animal}|]
        [take|snap] a [photo|picture|selfie] [of this|please|]
        [delete|share] the [last|blurry] [photo|picture|video]
        make an album [of|with] [our trip to {city}|{name}]
        how do i [crop|edit|print] a [photo|picture]
        send {name} [the|that] [photo|picture] from {city}
        what does a {animal} look like
        put a filter on [this|my selfie]
        back up [all|] my [photos|pictures]
        who is [that|the person] in this [picture|photo]
        """, """
        I can't work with photos.
        Photos are outside what I can do.
        """),
    "apps_devices": _category(0.9, """
        [open|close|launch|start] {app}
        [install|download|uninstall|update] {app} [for me|on my {device}|]
        {app} [keeps crashing|is not working|won't open]
        [sync|pair|connect] my [{device}|watch|phone|headphones] [with|to] [{app}|the {device2}|bluetooth]
        [log|sign] me [in|out] [of|to] {app}
        is {app} [free|down|better than {app2}]
        what's my {app} password
        how do i [delete|reset|recover] my {app} [account|password]
        [turn on|turn off] bluetooth
        cast {app} to the [tv|{device}]
        my [laptop|computer|{device}] is [slow|dead|making a weird noise|overheating]
        [reboot|restart|shut down] the [computer|{device}|server]
        google {about} [for me|]
        do you work with {app}
        """, """
        I can't control apps or devices.
        Apps and devices are outside what I can do.
        """),
    "wifi": _category(0.7, """
        [what's|tell me] the [wifi|wi-fi] password
        [turn|switch] [on|off] the [wifi|wi-fi|router|hotspot]
        why is [my|the] [internet|wifi] so slow
        the [internet|wifi|connection] [is down|keeps dropping|stopped working]
        run a speed test
        connect [me|my {device}] to the [guest|home] wifi
        who is [using|on] my wifi
        how do i [restart|set up] [my|the] [router|modem]
        is there [an|] outage [in my area|in {city}|]
        no signal in the {room}
        what's my ip [address|]
        """, """
        I can't help with the network.
        Wifi is outside what I can do.
        """),
    "homework": _category(0.8, """
        [help me with|do] my {subject_school} [homework|assignment|exam]
        [explain|teach me] {subject_school}
        i don't [get|understand] {subject_school}
        write [me|] an essay [on|about] [{happening}|{figure}|{about}]
        what's the answer to question {num}
        [check|correct] my [grammar|essay|sum]
        summarize {book} [for me|in two sentences]
        how [do i|should i] study for a {subject_school} [test|exam]
        what are the main [themes|ideas] in {book}
        give me [three|some] [arguments|examples] [for|against] school uniforms
        conjugate [to be|to go] in {language}
        write [a program|code] that [sorts|counts] {thing}
        """, """
        I can't help with schoolwork.
        Homework is outside what I can do.
        """),
    "stories_poems": _category(0.8, """
        tell me a [story|bedtime story|scary story|fairy tale] [about {about}|]
        write [me|] a [poem|haiku|limerick|song|rap] [about|for] [{about}|{person}]
        [read|tell] {person} a bedtime story
        make up a [rhyme|story] [with|about] a {animal} [in it|]
        once upon a time
        recite [a|something by] [poem|shakespeare]
        [finish|continue] this [sentence|story] for me
        give me a [quote|famous quote|saying] [about {about}|from {figure}|]
        write a [toast|speech|card] for {person}
        [say|do] a tongue twister
        can you rap [about {about}|]
        beatbox for me
        """, """
        I don't tell stories or write poems.
        Stories are outside what I can do.
        """),
    "advice": _category(0.9, """
        what should i [do|eat|study|watch] [today|tonight|next|]
        [give|i need] [me|] [some|] advice [about|on|with] [my job|{about}|my teenager|{topic}]
        how do i [make friends|save money|get rich|stay focused|be happy]
        should i [quit my job|move to {city}|buy {product}|learn {language}|get a {animal}]
        how [can i|do i] [stop procrastinating|wake up earlier|feel less {mood}]
        what would you do [in my place|if you were me]
        i'm bored, [entertain me|what now|got any ideas]
        how do you [get|remove] [a wine stain|gum|ink] [out of|from] [a shirt|the carpet|my jeans]
        how do i [tie a tie|fix a leak|unclog a drain|hang a picture|fold a fitted sheet]
        what's the best way to [learn {language}|clean the {device}|save for retirement]
        [any|some] tips for [a job interview|first time parents|travelling alone]
        help me [decide|choose] between {colour} and {colour2}
        what's a good name for [a {animal}|a baby|my boat]
        motivate me
        how do i get better at {sport}
        """, """
        I can't give advice on that.
        Advice is outside what I can do.
        """),
    "religion": _category(0.6, """
        [is there a god|does god exist]
        [read|tell] me a [bible verse|psalm|prayer] [for {mood} people|]
        what religion [are you|is {celebrity}]
        [what do|why do] [buddhists|muslims|christians|jews|hindus] [believe|celebrate {festival}]
        pray [for|with] me
        what's the [story|meaning] of {festival}
        who wrote the [bible|quran|torah]
        where does the soul go
        which [church|mosque|temple] is [closest|near {city}]
        is [eating|drinking] {food} a sin
        do you go to [church|heaven]
        """, """
        I can't talk about religion.
        Religion is outside what I can do.
        """),
    "animals": _category(0.8, """
        what [do {animal}s|does a {animal2}] eat
        how [long does a {animal} live|old can a {animal2} get]
        what sound does a {animal} make
        how [fast|big|smart|heavy] is a {animal}
        can [my|a] [dog|cat|{animal}] eat {food}
        is a {animal} a [good pet|mammal|reptile|dangerous animal]
        [why|how] does my [cat|dog|{animal}] [bite|scratch|cry at night|sleep so much]
        what do you call a [baby|group of] {animal}[s|]
        how many [legs|teeth|hearts] does a {animal} have
        where do {animal}s [live|sleep]
        my {animal} [is sick|ran away|ate {food}]
        who would win, a {animal} or a {animal2}
        how do i train a {animal}
        """, """
        I can't answer questions about animals.
        Animals are outside what I can do.
        """),
    "chance": _category(0.8, """
        [flip|toss] a coin [for me|]
        heads or tails
        roll [a|the|two|some] [dice|die] [with {num} sides|]
        [pick|give me|choose|think of] a [random|] number [between one and {num}|from 1 to {num2}|]
        draw [a|me a] card
        [pick|choose] [one|between] {name} [or|and] {name2}
        magic eight ball, will i [be rich|find love]
        [generate|make] a [random|strong] password
        what are [tonight's|the winning] lottery numbers
        tell me my [fortune|horoscope|future]
        spin the wheel
        give me a random [word|name|{colour} thing]
        """, """
        I can't draw lots or pick at random.
        Games of chance are outside what I can do.
        """),
    "hours_services": _category(0.7, """
        is the {spot} [open|closed] [on sundays|today|now|]
        what time does {shop} [close|open]
        what's the [phone number|address] of [the {spot}|{restaurant}|{shop}]
        does [the {spot}|{shop}] [take|accept] [cards|cash|walk ins]
        how [busy|crowded] is the {spot} [right now|]
        is there a {shop} in {city}
        find me a [plumber|electrician|babysitter|cleaner|lawyer] [in {city}|nearby|]
        who can [fix|repair] my {device}
        how much does a [plumber|haircut|manicure] cost
        are [shops|banks|schools] open on {festival}
        """, """
        I can't look up businesses.
        Opening hours are outside what I can do.
        """),
    "jobs_legal": _category(0.6, """
        [find|are there] [me|any] [jobs|openings] [in {city}|at {company}|for nurses|]
        [write|fix|improve] my [resume|cv|cover letter]
        is [{company}|{shop}] hiring
        how much does a [nurse|pilot|plumber|teacher] [make|earn]
        can i sue [my landlord|{company}|my neighbour]
        is it [legal|illegal] to [own a {animal}|park here|record a call] [in {country}|]
        what's the minimum wage in {country}
        how do i become a [pilot|citizen of {country}|teacher]
        do i need a lawyer [for this|to get divorced]
        what [should|do] i say when they ask about my weaknesses
        """, """
        I can't help with jobs or law.
        Work and legal questions are outside what I can do.
        """),
    "people_places": _category(0.6, """
        who is [{person}|{name}] [anyway|]
        where is {person} [now|right now|]
        what['s| is] {name}'s [phone number|address|last name|birthday]
        how old is {person}
        does {name} [like|hate|eat] {food}
        [is|are] {name} and {name2} [friends|married|related|dating]
        do you know {name}
        how do i get hold of {person}
        what does {person} [want|think of me]
        what's the zip code of {city}
        """, """
        I know nothing about that person or place.
        I can't look up people or addresses.
        """),
}

THANKS: tuple[tuple[str, ...], tuple[str, ...]] = (
    _lines("""
        thanks [a lot|so much|a bunch|a million|]
        thank you [very much|so much|kindly|]
        [many|much] thanks
        perfect [thanks|thank you|]
        [ok|okay|oh] great
        great [stuff|thanks|thank you|]
        that's all [for now|thanks|i needed|]
        never mind [then|]
        cool [thanks|]
        [awesome|amazing|brilliant|lovely|excellent|wonderful]
        [ok|okay] [cool|thanks|good|perfect|]
        nice one
        [sweet|neat|sick|dope]
        cheers [mate|]
        [ta|thx|ty|tysm]
        got it [thanks|]
        sounds good [to me|]
        [that|this] [looks|is] [right|good|perfect|great]
        [good|great|nice] job
        well done
        you're [the best|a lifesaver|a star|so helpful]
        [appreciate it|i appreciate that|much appreciated]
        [no|nope] that's [it|all|everything]
        that will be all [thank you|]
        nothing [else|more] [for now|thanks|]
        [all|we're] [good|set|done] [here|now|]
        i'm [good|all set|done] [now|thanks|for today|]
        [alright|right] then
        [bye|goodbye|see you] [now|later|]
        good [night|bye]
        that [was|is] [quick|fast|easy]
        wow that was [fast|simple]
        exactly what i [wanted|needed]
        [yes|yep|yeah] that's [it|right|the one]
        [very|that's very] [kind|nice|helpful] [of you|]
        [phew|great], one less thing to worry about
        [fantastic|super|splendid], [cheers|thank you|thanks]
        [fine|okay fine|alright]
        [i'll|let me] take it from here
        [talk|speak] to you later
        don't know what i'd do without you
        [have a|you have a] [good|nice|great] [day|one|evening|weekend]
        [can't|couldn't] ask for more
        [love|like] it
    """),
    _lines("""
        You're welcome.
        Glad to help.
        Happy to help.
    """),
)
