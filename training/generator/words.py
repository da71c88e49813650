"""Word pools of the generator: names, places, things to do, things to talk about.

Covers: our own lists, and made-up words, so that values cannot be learnt by heart and have to be copied.
Does not cover: phrasing (requests, dialogues) and time (times).
"""

from __future__ import annotations

import random
import string
import unicodedata
import uuid
from collections.abc import Callable


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.replace("\n", " ").split(",") if part.strip())


FIRST = _split("""
Anna, Ben, Carla, David, Elena, Farid, Grace, Hiro, Ines, Jonas, Karim, Lena, Marco, Nadia, Omar, Priya, Quentin, Rosa, Sam,
Tara, Uma, Victor, Wendy, Xavier, Yuki, Zoe, Aisha, Boris, Chloe, Diego, Emma, Finn, Gita, Hassan, Ivy, Jack, Kofi, Lucia,
Mei, Noah, Olga, Pablo, Rachel, Sven, Tom, Ursula, Vera, Will, Yusuf, Zara, Alice, Bob, Cindy, Dan, Erin, Frank, Gina, Harry,
Isaac, Jenny, Kate, Liam, Maria, Nina, Oscar, Paul, Ravi, Sara, Tim, Una, Vince, Wes, Amir, Bella, Cem, Dora, Ewa, Fatima,
Gustav, Helen, Igor, Julia, Kenji, Leo, Mona, Nils, Otis, Petra, Rolf, Sofia, Theo, Viktor, Abby, Becky, Chris, Donna, Eddie,
Fiona, George, Holly, Ian, Jill, Kevin, Laura, Mike, Nancy, Owen, Pat, Quinn, Rita, Steve, Tina, Vicky, Walt, Adaeze, Bjorn,
Chidi, Dmitri, Esther, Femi, Gloria, Hugo, Irene, Jorge, Keiko, Lars, Manuel, Ngozi, Olivia, Pierre, Rashid, Silvia, Tomas,
Umberto, Valeria, Winston, Ximena, Yara, Zeynep, Alex, Andy, Beth, Carl, Daisy, Eric, Felix, Greg, Hannah, Jamie, Jess, Joan,
Joe, John, Josh, Judy, Karen, Ken, Kim, Kyle, Lily, Linda, Louis, Lucy, Luke, Mark, Mary, Matt, Max, Megan, Meera, Mia, Milo,
Molly, Nate, Neil, Nick, Nora, Peter, Phil, Ray, Rob, Robin, Ron, Rosie, Ruth, Ryan, Sally, Sean, Shawn, Simon, Stan, Sue,
Susan, Ted, Tony, Tracy, Vera, Wanda, Allison, Brandon, Curtis, Deepak, Elif, Florian, Gwen, Harold, Imani, Jasmine, Kiran,
José, Zoë, Chloé, Renée, Siân, Søren, Łukasz, Małgorzata, Noël, Åsa, Björn, Jürgen, Çağla, Anaïs, François, Márta, Žofia, Đorđe,
Íñigo, Ángel, Jörg, Günther, Małgosia, Óscar, Raúl, Lucía, Núria, João, Inês, Mónica, Zoltán, Bálint, Eszter, Jiří, Ondřej, Håkon,
Øyvind, Pål, Märta, Sébastien, Hélène, Agnès, Gaëlle, Loïc, Mary-Jane, Jean-Luc, D'Angelo, Anne-Sophie, Thảo, Nguyệt, Şule, Ömer
""")
LAST = _split("""
Lopez, Smith, Tanaka, Okafor, Novak, Silva, Meyer, Kowalski, Haddad, Nguyen, Patel, Kim, Rossi, Dubois, Larsen, Ivanov, Costa,
Yilmaz, Chen, Ali, Walker, Brown, Jones, Garcia, Murphy, Schmidt, Ito, Park, Singh, Cohen, Adams, Baker, Clark, Diaz, Evans,
Fisher, Green, Hughes, Irwin, Jensen, Klein, Lewis, Morris, Nelson, Olsen, Parker, Quist, Reyes, Stone, Turner, Vance, Wood, Young,
O'Neil, O'Brien, D'Souza, Müller, Böhm, Núñez, García, Fernández, Dvořák, Šimek, Wójcik, Żak, Håkansson, Sørensen, Lefèvre, Çelik,
Smith-Jones, van Dijk, de la Cruz, McCarthy, Åberg, Peña, Gonçalves, Kovács, Ünal
""")
RELATION = _split("""
mom, dad, my sister, my brother, my wife, my husband, grandma, grandpa, my boss, my landlord, the plumber, the dentist, the vet,
my accountant, my neighbor, the school, my daughter, my son, my aunt, my uncle, my cousin, my manager, the doctor, my roommate,
the electrician, my coach, my lawyer, the team, my partner, the bank, my friend, my teacher, the nanny, the insurance company
""")
ITEM = _split("""
milk, eggs, bread, coffee, a birthday card, light bulbs, cat food, dog food, new shoes, a phone charger, stamps, flowers, paint,
a gift for {name}, batteries, printer paper, toothpaste, rice, olive oil, concert tickets, train tickets, a winter coat, nails,
a bike lock, diapers, a cake, ice, vitamins, potting soil, sunscreen, a new mattress, wrapping paper, a lamp, cheese, apples,
garbage bags, shampoo, a suitcase, a frame for the photo, candles, tea, a helmet, laundry detergent, a notebook, ink cartridges,
salt & vinegar crisps, M&M's, crème fraîche, jalapeños, 2 litres of milk, 6 AA batteries, 3 bags of soil, a 12 V adapter, a USB-C cable,
size 9 boots, 4x6 photo paper, the kids' lunches, piñata sweets, 100 napkins, two A4 folders, a pâté, mac & cheese, 500 g of flour
""")
THING = _split("""
report, invoice, contract, presentation, essay, garage, kitchen, car, laundry, dishes, plants, garden, fridge, oven, bike, lawn,
windows, attic, basement, tax return, budget, expense report, resume, cover letter, application, passport, driver's license,
library books, package, rental car, keys, homework, term paper, thesis, slides, spreadsheet, website, newsletter, blog post,
backup, password, software, server, printer, roof, fence, gutters, sink, dishwasher, filter, smoke alarm, prescription, bandage,
suit, dress, curtains, carpet, bookshelf, desk, chair, playlist, photos, album, guest list, menu, recipe, seating plan, survey,
questionnaire, insurance claim, mortgage papers, lease, warranty, receipt, permit, visa form, vaccine record, timesheet, roadmap,
design draft, test plan, release notes, pull request, database, logo, flyer, poster, banner, agenda, minutes, proposal, quote,
estimate, order, inventory, shelf, toolbox, tent, backpack, first aid kit, aquarium, litter box, bird feeder, compost, hedge,
R&D budget, Q&A notes, P&L sheet, AT&T bill, T&Cs, Q3 numbers, W-2, kids' passports, boss's slides, dog's leash, résumé, café menu, Wi-Fi router,
1099 form, 5k route, B12 tablets, F1 tickets, 2nd draft, 3D model, A/C filter, CV, MOT, 401k form, FAQ page, COVID test, HDMI cable
""")
VERB = _split("""
clean, fix, finish, check, review, submit, print, update, wash, return, send, sign, renew, organize, paint, repair, sort, order,
pack, replace, edit, proofread, water, upload, download, scan, file, cancel, test, inspect, measure, polish, label, unpack, move,
write, draft, read, collect, drop off, pick up, look at, work on, go over, put away, take out, throw out, set up, hand in, fill out
""")
BILL = _split("rent, electricity bill, gas bill, water bill, phone bill, internet bill, credit card, parking ticket, tuition, mortgage, car insurance, babysitter, membership fee, taxes")
ACTIVITY = _split("""
exercise, meditate, stretch, go for a run, take my medicine, take out the trash, do the dishes, do yoga, practice piano, study
spanish, feed the cat, feed the dog, walk the dog, water the plants, vacuum the living room, mow the lawn, do the laundry, get a
haircut, get gas, change the oil, back up my laptop, drink more water, go to the gym, stop by the post office, go grocery shopping,
apply for the internship, write in my journal, charge my phone, turn off the oven, take a break, rake the leaves, shovel the snow,
clean out the inbox, plan the trip, check the mail, defrost the chicken, iron my shirt, lock the shed, mop the floor, dust the shelves,
register to vote, donate blood, return the library books, cook dinner, bake cookies, pack my lunch, memorize the speech, nap
""")
EVENT = _split("""
dentist appointment, doctor's appointment, team meeting, staff meeting, standup, budget review, project kickoff, sprint planning,
job interview, parent teacher conference, piano recital, birthday party, barbecue, wedding, funeral, baby shower, book club,
yoga class, spin class, soccer practice, swim lesson, haircut, oil change, vet visit, eye exam, physical, blood test, therapy,
date night, movie night, game night, potluck, picnic, concert, art show, museum tour, wine tasting, brunch, coffee chat,
lunch meeting, dinner party, board meeting, sales call, client call, demo, webinar, workshop, training session, orientation,
open house, house viewing, car inspection, moving day, flight to {city}, train to {city}, graduation, anniversary dinner, choir rehearsal,
poker night, marathon, hike, camping trip, garage sale, town hall, fire drill, performance review, retrospective, all hands,
tax appointment, massage, manicure, tennis match, chess club, guitar lesson, driving test, mock exam, study group, lab session,
field trip, bake sale, fundraiser, church service, bible study, prayer group, volunteer shift, blood drive, office party,
farewell lunch, happy hour, karaoke, trivia night, science fair, spelling bee, school play, dress rehearsal, photo shoot,
Q&A session, R&D sync, 5k run, year 6 assembly, level 2 exam, B&B check-in, 1:1 review, Q3 review, PTA meeting, kids' party, farmers' market,
soirée, après-ski drinks, São João festival, piñata party, phase 2 kickoff, MRI scan, 10-year reunion, D&D night, CPR course, wine & cheese evening
""")
EVENT_WITH = _split("lunch, dinner, coffee, breakfast, meeting, call, drinks, brunch, catch up, one on one, walk, video call, tennis, golf, appointment, interview, sync, chat, zoom")
PLACE = _split("""
Luigi's, the park, the office, room 4, room 12, conference room B, the library, city hall, the cafe on Main Street, the gym, my house,
the community center, Blue Door Cafe, Green Park, the Hilton, the airport, the stadium, 42 Oak Street, the clinic, the golf club,
Studio 5, the rooftop bar, the museum, the beach house, Pizza Palace, the church, the town square, headquarters, the lobby,
the north building, room 201, the big conference room, Starbucks, Joe's Diner, the botanical garden, St Mary's hospital, the zoo,
room 12b, room B-204, gate B22, Terminal 2, Café Zoë, Zum Löwen, 7 Rue de l'Église, the AT&T Center, building 7, meeting room 3A, Bar Señor, unit 14c,
21 Jump Street, level 5, Ben & Jerry's, O'Malley's, desk 42, studio 9¾, Tromsø Kino, Zürich HB, platform 9, 1600 Hill Road, Pier 39, Crêperie André
""")
CITY = _split("""
Paris, London, New York, Tokyo, Berlin, Madrid, Rome, Oslo, Cairo, Lagos, Mumbai, Delhi, Seoul, Sydney, Toronto, Chicago, Boston,
Denver, Seattle, Austin, Dallas, Miami, Houston, Phoenix, San Diego, San Francisco, Los Angeles, Portland, Atlanta, Lisbon, Vienna,
Prague, Warsaw, Dublin, Zurich, Geneva, Munich, Hamburg, Milan, Naples, Athens, Istanbul, Dubai, Nairobi, Cape Town, Lima, Quito,
Bogota, Havana, Mexico City, Vancouver, Montreal, Halifax, Reykjavik, Helsinki, Stockholm, Copenhagen, Brussels, Antwerp, Lyon,
Nice, Bordeaux, Porto, Seville, Valencia, Glasgow, Leeds, Bristol, Bath, York, Oxford, Hanoi, Bangkok, Manila, Jakarta, Singapore,
Taipei, Osaka, Kyoto, Sapporo, Perth, Darwin, Hobart, Auckland, Wellington, Fairbanks, Boise, Tulsa, Omaha, El Paso, Santa Fe,
Salt Lake City, Baton Rouge, Little Rock, Grand Rapids, Kansas City, St Louis, Fort Worth, Long Beach, Palo Alto, Ann Arbor,
Cedar Falls, Green Bay, Myrtle Beach, Key West, Niagara Falls, Zanzibar, Marrakesh, Tunis, Accra, Dakar, Kampala, Windhoek,
Łódź, São Paulo, Zürich, Tromsø, Malmö, Kraków, Gdańsk, Bogotá, Reykjavík, Córdoba, Düsseldorf, Köln, Besançon, Århus, Plzeň, Iași, Göteborg, Genève,
Saint-Étienne, Aix-en-Provence, Stratford-upon-Avon, Xi'an, Winston-Salem, Coeur d'Alene, N'Djamena, St. John's, Val-d'Or, Asunción, Mérida, León,
Medellín, Curaçao, Białystok, Timișoara, Győr, Brașov, Nîmes, Orléans, Münster, Würzburg, Ålesund, Bodø, Jyväskylä, Şanlıurfa, Đà Nẵng, Hà Nội, Ho Chi Minh City
""")
REGION = _split("Texas, California, Florida, Ohio, Spain, Italy, Japan, Kenya, Peru, Norway, Ontario, Bavaria, Scotland, Wales, Utah, Iowa, NY, CA, TX, WA, France, Germany, Brazil, India, Mexico, Malta, Guam, Vermont")
POI = _split("Yosemite National Park, Central Park, the Grand Canyon, Mount Rainier, Lake Tahoe, the Eiffel Tower, Death Valley, Acadia National Park, Stone Creek State Park, Bear Lake, the coast, the mountains, Cedar Point, the Outer Banks")
TOPIC = _split("""
the meeting, the budget, the invoice, the party, the project, the schedule, the trip, the report, dinner plans, the new office,
the contract, the rent, the leaking sink, the holiday plans, the interview, the presentation, my vacation days, the team lunch,
the soccer game, the school play, the delivery, the broken window, the hiring plan, the launch, the website, the test results,
the wedding, my car, the tickets, the lease, quarterly results, the deadline, the survey, the conference, the marketing plan
""")
CLAUSE = _split("""
I will be late, I am running ten minutes late, the report is ready, I can't make it today, the meeting is moved to {day}, lunch is on me,
thank you for the gift, I am on my way, the files are attached, please call me back, happy birthday, the package arrived,
we need more chairs, I finished the draft, the door code is {num}, the car is fixed, I love you, dinner is at {hour} tonight,
I need the numbers by {day}, we are out of {thing}, please review the {thing}, can you send me the {thing}, I got the job,
the flight lands at noon, I will pick up the kids, don't forget the {thing}, see you on {day}, the {thing} is broken, I feel sick today,
the plan looks good, we should talk about {topic}, I approve {topic}, congratulations on the new job, the wifi is down, how are you,
invoice {code} is still unpaid, my new address is 14b Elm Road, flight {code} is delayed, it's the kids' last day, I'm at José's café, order {code} hasn't shipped,
we're 3 people short, the total comes to 1249.50, ticket {code} can be closed, Q&A moves to {day}, room {num}b is free, that's fine by me & Zoë
""")
SUBJECT = _split("""
Update, Hello, Quick question, Running late, Invoice {num}, Meeting notes, Weekend plans, Thank you, Project status, Dinner, Order {num},
Happy birthday, Lunch on {day}, Feedback, Urgent, Reminder, Trip details, Room booking, New address, Good news, Budget, Follow up,
Re: order {code}, Invoice {code}, Q&A, R&D update, Ticket {code}, Kids' party, Room {num}b, Form W-9, José's visit
""")
DOMAIN = _split("example.com, mail.com, gmail.com, acme.org, northwind.io, outlook.com, yahoo.com, school.edu, corp.net, proton.me, studio.co, fastmail.com, uni.ac.uk, web.de, mail.co.uk, h2o.io, studio54.net, my-shop.store, cs.uni-ulm.de, team4.dev")
ADJECTIVE = _split("quick, new, old, big, final, monthly, weekly, annual, first, second, red, blue, green, broken, important, short, long, draft, team, family, summer, winter, spare, shared, missing, overdue")
CONDITION = _split("rain, snow, be sunny, be windy, be cloudy, be hot, be cold, storm, be foggy, freeze, hail, be humid, drizzle, be warm, be chilly, thunder, be freezing, be nice out, be overcast, clear up")
ADJ_WEATHER = _split("hot, cold, warm, windy, humid, cloudy, sunny, rainy, chilly, foggy, icy, freezing, stormy, snowy")
ONSETS = _split("b, br, c, ch, d, dr, f, fl, g, gr, h, j, k, kl, l, m, n, p, pl, qu, r, s, sh, sk, sl, st, t, th, tr, v, w, y, z")
RIMES = _split("a, ab, ack, al, am, an, ar, ath, e, ed, el, en, er, et, i, ick, il, im, in, is, o, ock, ol, on, or, ot, u, ub, un, ur, ust, ai, ea, oo, ay, y, ine, ora, ell, und")

CODED = _split("""
invoice, invoice, ticket, order, case, claim, PO, contract, purchase order, booking, parcel, work order, report, quote, form, form, room, bus, flight, chapter, page,
unit, locker, gate, slide, section, version, exercise, lesson, episode, issue, bug, draft, lot, apartment, table, module, box, part, permit, exhibit, bay
""")

# Any word list may be added at run time (the base model's data script adds a frequency list of its texts).
EXTRA: list[str] = []
DEEDS: list[str] = []  # more things to do, and more happenings; the base's text fills them (training.nano)
HAPPENINGS: list[str] = []
SENTENCES: list[str] = []  # what people say, for messages


def made_up(rng: random.Random) -> str:
    """A word that no list holds, two to three syllables long."""
    return "".join(rng.choice(ONSETS) + rng.choice(RIMES) for _ in range(rng.choice((1, 2, 2, 2, 3))))


def rare(rng: random.Random) -> str:
    """A word that is hard to guess: from the added list where there is one, else made up."""
    return rng.choice(EXTRA) if EXTRA and rng.random() < 0.75 else made_up(rng)


def code(rng: random.Random) -> str:
    """A number or code as it stands on a bill, a door or a form: "#4471", "W-9", "12b"."""
    letters = "".join(rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ") for _ in range(rng.choice((1, 1, 2, 3))))
    small, large = rng.randint(1, 99), rng.randint(100, 99999)
    return rng.choice(
        (
            f"#{large}", f"#{small}", f"{small}", f"{large}", f"{small}{rng.choice('abcdef')}", f"{letters}-{small}", f"{letters}{small}", f"{letters}-{large}", f"{letters}{large}",
            f"{rng.randint(1, 9)}.{rng.randint(0, 12)}", f"{rng.randint(2020, 2029)}-{rng.randint(1, 999):03d}", f"no {large}", f"{rng.randint(1, 9)}{letters[0]}",
        )
    )  # fmt: skip


def coded(rng: random.Random) -> str:
    """A thing with its number: "invoice #4471", "form W-9", "room 12b"."""
    return f"{rng.choice(CODED)} {code(rng)}"


def name(rng: random.Random) -> str:
    """A person's name as people type it."""
    roll = rng.random()
    first = rng.choice(FIRST) if roll < 0.85 else made_up(rng).capitalize()
    return f"{first} {rng.choice(LAST)}" if rng.random() < 0.15 else first


def person(rng: random.Random) -> str:
    """A name or a relation."""
    return rng.choice(RELATION) if rng.random() < 0.3 else name(rng)


def address(rng: random.Random) -> str:
    """An e-mail address in one of the usual shapes."""
    first = _plain(rng.choice(FIRST)) if rng.random() < 0.7 else made_up(rng)
    last = _plain(rng.choice(LAST)) if rng.random() < 0.7 else _plain(rare(rng)) or made_up(rng)
    number = rng.choice((rng.randint(1, 99), rng.randint(1950, 2012), rng.randint(100, 9999)))
    local = rng.choice(
        (
            first, f"{first}.{last}", f"{first}.{last}", f"{first}{number}", f"{first[0]}{last}", f"{first}_{last}", last, f"{first}-{last}", f"{last}.{first[0]}", f"{first[0]}.{last}{number}",
            f"{first}+{rng.choice(('news', 'work', 'bills', 'team', str(number), made_up(rng)))}", f"{first}.{last}+{rng.choice(('home', 'shop', str(number)))}",
            f"{last}{number}", f"{rng.choice(('info', 'office', 'hello', 'team', 'support', 'billing', 'hr', 'no-reply'))}{rng.choice(('', '', str(number)))}",
        )
    )  # fmt: skip
    domain = rng.choice(DOMAIN) if rng.random() < 0.7 else f"{made_up(rng)}{rng.choice(('', '', str(rng.randint(1, 99))))}.{rng.choice(('com', 'org', 'net', 'io'))}"
    return f"{local}@{domain}"


def _plain(text: str) -> str:
    # A name as it stands in an address: plain lower-case letters.
    text = unicodedata.normalize("NFKD", text.lower().translate(str.maketrans("łøđıß", "lodis")))
    return "".join(char for char in text if char.isascii() and char.isalnum())


def identifier(rng: random.Random, kind: str) -> str:
    """An id as back ends make them: prefixed numbers, hex, plain numbers, uuids. ``kind`` is task or event."""
    roll = rng.random()
    small, year = rng.randint(1, 999), rng.randint(2023, 2028)
    if roll < 0.04:
        return str(uuid.UUID(int=rng.getrandbits(128), version=4))
    if roll < 0.12:
        return f"{rng.getrandbits(32):08x}"
    if roll < 0.17:
        return f"{rng.choice('ABCDEFGHJKLMNPQRSTUVWXYZ')}{rng.randint(1, 99)}"
    if roll < 0.19:
        return str(rng.randint(1, 12))
    if roll < 0.24:
        short = rng.choice(("tsk", "task", "td", "todo") if kind == "task" else ("ev", "evt", "cal", "appt"))
        return rng.choice((f"{short}.{year}.{small}", f"{short}/{small}", f"{short}:{small}", f"{short.upper()}-{small:04d}", f"{short}-{year}-{small:03d}", f"{short}#{small}", f"{short}_{year % 100}{rng.randint(1, 12):02d}_{small}"))
    if roll < 0.29:
        alphabet = "ABCDEFGHJKMNPQRSTVWXYZabcdefghjkmnpqrstvwxyz0123456789"
        return "".join(rng.choice(alphabet) for _ in range(rng.choice((6, 8, 10, 12))))
    if roll < 0.31:
        return str(rng.randint(10**6, 10**9))
    prefixes = ("task_", "task-", "t", "T", "t-", "td_", "todo-", "") if kind == "task" else ("evt_", "event-", "e", "E", "ev-", "cal_", "ev", "")
    prefix = rng.choice(prefixes)
    body = rng.choice(
        (
            lambda: str(rng.randint(1, 99)),
            lambda: str(rng.randint(100, 999)),
            lambda: f"{rng.randint(0, 9999):04d}",
            lambda: f"{rng.getrandbits(16):04x}",
            lambda: f"{rng.getrandbits(24):06x}",
            lambda: rng.choice("abcdefghjkmnpqrstuvwxyz") + str(rng.randint(1, 99)),
            lambda: f"{rng.randint(1, 9)}{rng.choice('abcdefghjkmnpqrstuvwxyz')}{rng.randint(1, 9)}",
        )
    )()
    return prefix + body


def city(rng: random.Random) -> str:
    """A place to ask the weather of."""
    roll = rng.random()
    if roll < 0.55:
        return rng.choice(CITY)
    if roll < 0.65:
        return rng.choice(REGION)
    if roll < 0.72:
        return rng.choice(POI)
    if roll < 0.84:
        return f"{rng.choice(CITY)}, {rng.choice(REGION)}" if rng.random() < 0.5 else f"{rng.choice(CITY)} {rng.choice(REGION)}"
    word = rare(rng).capitalize()
    return rng.choice((word, f"{word} {rng.choice(('Falls', 'City', 'Springs', 'Hills', 'Beach', 'Valley'))}", f"{word}, {rng.choice(REGION)}", f"Port {word}"))


def noun_phrase(rng: random.Random) -> str:
    """A thing, often with an adjective or a rare word before it."""
    roll = rng.random()
    if roll < 0.44:
        return rng.choice(THING)
    if roll < 0.62:
        return f"{rng.choice(ADJECTIVE)} {rng.choice(THING)}"
    if roll < 0.70:
        return coded(rng)
    if roll < 0.88:
        return f"{rare(rng)} {rng.choice(THING)}"
    return f"{rare(rng)} {rare(rng)}"


def strange_thing(rng: random.Random) -> str:
    """One to seven words that nobody can guess, in the shapes of a noun phrase: where it ends is all there is to learn."""
    roll = rng.random()
    one, two, three = rare(rng), rare(rng), rare(rng)
    if roll < 0.10:
        shown = one
    elif roll < 0.34:
        shown = f"{one} {two}"
    elif roll < 0.52:
        shown = f"{one} {two} {three}"
    elif roll < 0.58:
        shown = f"{one}-{two} {three}"
    elif roll < 0.64:
        shown = f"{name(rng)}'s {one} {two}"
    elif roll < 0.70:
        shown = f"{one} {two} {rng.choice(THING)}"
    elif roll < 0.76:
        shown = f"{one} {code(rng)}"
    elif roll < 0.80:
        shown = f"{one} {two} & {three}"
    else:
        link = rng.choice(("of the", "of", "for the", "for", "from the", "with the", "with", "and the", "and", "about the", "about", "to the", "in the", "without", "vs", "re"))
        shown = f"{one} {two} {link} {three}{rng.choice(('', '', ' ' + rare(rng), ' ' + rng.choice(THING)))}"
    return string.capwords(shown) if rng.random() < 0.08 else shown


def strange_deed(rng: random.Random) -> str:
    """Something to do that was never done: a known verb, now and then an unknown one, and a strange thing."""
    roll = rng.random()
    if DEEDS and roll < 0.25:
        return f"{rng.choice(DEEDS)} {rng.choice(('for', 'with', 'before', 'from', 'and'))} {rng.choice(('the ', 'my ', '')) + strange_thing(rng) if rng.random() < 0.6 else person(rng)}"
    verb = rare(rng) if roll > 0.92 else rng.choice(DEEDS).split(maxsplit=1)[0] if DEEDS else rng.choice(VERB)
    return f"{verb} {rng.choice(('the ', 'the ', 'my ', '', ''))}{strange_thing(rng)}"


def strange_happening(rng: random.Random) -> str:
    """An event that nobody has heard of, often named by a word for what happens."""
    roll = rng.random()
    if roll < 0.45 and HAPPENINGS:
        return f"{strange_thing(rng)} {rng.choice(HAPPENINGS).rsplit(maxsplit=1)[-1]}"
    if roll < 0.70 and HAPPENINGS:
        return f"{rng.choice(HAPPENINGS)} {rng.choice(('for', 'with', 'of', 'about', 'at', 'and'))} {rng.choice(('the ', '')) + strange_thing(rng) if rng.random() < 0.6 else person(rng)}"
    return strange_thing(rng)


def strange_place(rng: random.Random) -> str:
    """A room, street, house or town that is on no map."""
    one, two = rare(rng).capitalize(), rare(rng).capitalize()
    kind = rng.choice(("Hall", "Room", "Studio", "Arms", "House", "Park", "Centre", "Library", "Clinic", "Road", "Street", "Lane", "Café", "School", "Church", "Gym", "Kitchen", "Hotel", "Court", "Lake"))
    return rng.choice((one, f"{one} {kind}", f"{one} {two} {kind}", f"{rng.randint(1, 240)} {one} {kind}", f"{kind.lower()} {code(rng)}", f"{one} & {two}", f"{one}, {two}", f"{one.lower()} {kind.lower()}", f"{one}'s"))


def fill(rng: random.Random, text: str) -> str:
    """Fill ``{name}``, ``{city}``, ``{day}``, ``{num}``, ``{hour}``, ``{code}``, ``{thing}`` and ``{topic}`` in a pool's entry."""
    while "{" in text:
        start, rest = text.split("{", 1)
        slot, end = rest.split("}", 1)
        makers: dict[str, Callable[[], str]] = {
            "name": lambda: name(rng),
            "city": lambda: rng.choice(CITY),
            "day": lambda: rng.choice(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")),
            "num": lambda: str(rng.randint(2, 12) if rng.random() < 0.5 else rng.randint(100, 9999)),
            "hour": lambda: str(rng.randint(5, 9)),
            "code": lambda: code(rng),
            "thing": lambda: noun_phrase(rng),
            "topic": lambda: rng.choice(TOPIC),
        }
        text = start + makers[slot]() + end
    return text


def todo(rng: random.Random) -> str:
    """Something to do, as a verb phrase: the title of a task."""
    if DEEDS and rng.random() < 0.65:
        return rng.choice(DEEDS) if rng.random() < 0.5 else strange_deed(rng)
    if rng.random() < 0.12:
        return _long_todo(rng)
    roll = rng.random()
    if roll < 0.14:
        return f"{rng.choice(('call', 'call', 'phone', 'text', 'email', 'ring', 'message', 'visit', 'thank', 'meet', 'ask', 'pay'))} {person(rng)}"
    if roll < 0.20:
        return f"{rng.choice(('call', 'email', 'ask', 'talk to', 'remind', 'tell'))} {person(rng)} about {fill(rng, rng.choice(TOPIC)) if rng.random() < 0.5 else 'the ' + noun_phrase(rng)}"
    if roll < 0.32:
        return f"{rng.choice(('buy', 'get', 'pick up', 'order', 'purchase', 'grab'))} {fill(rng, rng.choice(ITEM)) if rng.random() < 0.65 else noun_phrase(rng)}"
    if roll < 0.38:
        return f"pay {rng.choice(('the ', 'my '))}{rng.choice(BILL)}"
    if roll < 0.56:
        return rng.choice(ACTIVITY)
    if roll < 0.84:
        return f"{rng.choice(VERB)} {rng.choice(('the ', 'my ', 'the ', ''))}{noun_phrase(rng)}"
    if roll < 0.90:
        return f"{rng.choice(VERB)} {rng.choice(('the ', 'my '))}{rng.choice(THING)} {rng.choice(('for', 'with', 'from', 'to'))} {person(rng)}"
    if roll < 0.95:
        return f"{rare(rng)} {rng.choice(('the ', 'my ', ''))}{noun_phrase(rng)}"
    return f"{rng.choice(('book', 'schedule', 'make', 'reserve', 'confirm', 'prepare for', 'get ready for'))} {rng.choice(('my ', 'the '))}{fill(rng, rng.choice(EVENT))}"


def _long_todo(rng: random.Random) -> str:
    who, what = person(rng), noun_phrase(rng)
    one, two, three = rng.sample(ITEM, 3)
    return rng.choice(
        (
            lambda: f"{rng.choice(('pay', 'check', 'send', 'file', 'print', 'sign', 'look into', 'chase'))} {coded(rng)}",
            lambda: f"{rng.choice(('fill in', 'send', 'close', 'review', 'follow up on'))} {coded(rng)} {rng.choice(('for', 'from', 'with'))} {who}",
            lambda: f"{rng.choice(('buy', 'get', 'pick up', 'order'))} {fill(rng, one)}, {fill(rng, two)} and {fill(rng, three)}",
            lambda: f"{rng.choice(('buy', 'get', 'pick up'))} {fill(rng, one)} & {fill(rng, two)}",
            lambda: f"tell {who} that the {what} is in the {rng.choice(('hall', 'garage', 'car', 'top drawer', 'blue box'))}",
            lambda: f"ask {who} whether the {what} is still {rng.choice(('under warranty', 'available', 'needed', 'in stock', 'for sale'))}",
            lambda: f"find out how much a new {rng.choice(THING)} would cost",
            lambda: f"figure out why the {what} keeps {rng.choice(('failing', 'leaking', 'beeping', 'getting lost', 'going missing'))}",
            lambda: f"write a thank-you note to {who} for the {what}",
            lambda: f"return {name(rng)}'s {what} and pick up mine",
            lambda: f"catch bus {rng.randint(2, 99)} to {rng.choice(CITY)}",
            lambda: f"move the {what} from {coded(rng)} to {coded(rng)}",
            lambda: f"compare the {what} with the one that {who} recommended",
            lambda: f"drop the {what} off at {name(rng)}'s place",
            lambda: f"check that the {what} and the {rng.choice(THING)} match",
        )
    )()


def event(rng: random.Random) -> str:
    """What an event is about: its summary."""
    if HAPPENINGS and rng.random() < 0.65:
        return rng.choice(HAPPENINGS) if rng.random() < 0.5 else strange_happening(rng)
    roll = rng.random()
    if roll < 0.45:
        return fill(rng, rng.choice(EVENT))
    if roll < 0.68:
        return f"{rng.choice(EVENT_WITH)} with {person(rng)}"
    if roll < 0.71:
        return rng.choice((f"{rng.choice(('review of', 'call about', 'walkthrough of', 'meeting about', 'sync on'))} {coded(rng)}", f"{coded(rng)} {rng.choice(('review', 'inspection', 'handover', 'viewing'))}"))
    if roll < 0.73:
        return f"{rng.choice(EVENT_WITH)} with {name(rng)} {rng.choice(('about', 'to discuss', 'on'))} the {noun_phrase(rng)} {rng.choice(('plan', 'handover', 'costs', 'changes'))}"
    if roll < 0.78:
        who = name(rng)
        return f"{who}'s {rng.choice(('birthday', 'birthday party', 'party', 'wedding', 'recital', 'graduation', 'game', 'visit'))}"
    if roll < 0.90:
        return f"{noun_phrase(rng)} {rng.choice(('meeting', 'review', 'workshop', 'call', 'session', 'appointment', 'party', 'training', 'demo', 'inspection'))}"
    if roll < 0.96:
        return f"{rare(rng)} {fill(rng, rng.choice(EVENT))}"
    return f"{rng.choice(EVENT_WITH)} with {name(rng)} and {name(rng)}"


def message(rng: random.Random) -> str:
    """What an e-mail says."""
    if SENTENCES and rng.random() < 0.4:
        return rng.choice(SENTENCES)
    text = fill(rng, rng.choice(CLAUSE))
    if rng.random() < 0.15:
        text = f"{text} and {fill(rng, rng.choice(CLAUSE))}"
    elif rng.random() < 0.2:
        text = f"the {noun_phrase(rng)} {rng.choice(('is ready', 'is late', 'needs work', 'looks great', 'is cancelled', 'was delivered', 'is on the desk'))}"
    return text


def topic(rng: random.Random) -> str:
    """What an e-mail or a note is about."""
    return rng.choice(TOPIC) if rng.random() < 0.55 else f"the {noun_phrase(rng)}"
