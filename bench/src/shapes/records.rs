//! The values of records, one function for each shape.

use std::io::Write as _;

use rand::Rng as _;
use rand::rngs::StdRng;

use super::Fate;

/// 2026-01-01T00:00:00Z in milliseconds: the time of the first record.
pub const FIRST_TIME: i64 = 1_767_225_600_000;
/// The times of all records of a topic fill this many hours.
pub const HOURS: u64 = 6;

const TYPES: [&str; 6] = ["purchase", "refund", "view", "add_to_cart", "checkout", "signup"];
const CURRENCIES: [&str; 6] = ["USD", "EUR", "GBP", "INR", "JPY", "BRL"];
const SOURCES: [&str; 4] = ["mobile", "web", "partner", "pos"];
const WORDS: [&str; 16] = [
    "request",
    "served",
    "from",
    "cache",
    "upstream",
    "timeout",
    "retry",
    "connection",
    "reset",
    "by",
    "peer",
    "user",
    "session",
    "expired",
    "after",
    "checkout",
];
const CITIES: [&str; 8] = ["Zürich", "München", "São Paulo", "東京", "Москва", "Αθήνα", "القاهرة", "Kraków"];
const LETTERS: [&str; 12] = ["é", "ß", "ø", "中", "文", "д", "ж", "λ", "ω", "🙂", "ñ", "ü"];

/// Appends formatted text; a vector takes everything.
macro_rules! put {
    ($out:expr, $($arguments:tt)*) => { let _ = write!($out, $($arguments)*); };
}

/// The time of a record: they run through the hours, each up to thirty seconds late, as events come.
fn time(random: &mut StdRng, index: u64, of: u64) -> i64 {
    let step = (index as f64 * (HOURS * 3_600_000) as f64 / of.max(1) as f64) as i64;
    FIRST_TIME + (step - random.random_range(0..30_000)).max(0)
}

fn id(random: &mut StdRng, out: &mut Vec<u8>) {
    let (high, low): (u64, u64) = (random.random(), random.random());
    put!(
        out,
        "\"{:08x}-{:04x}-{:04x}-{:04x}-{:012x}\"",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    );
}

/// An event of about 250 bytes. One of a hundred has no id and two have no positive amount: the filter removes them.
fn event(random: &mut StdRng, index: u64, of: u64, more: &str, out: &mut Vec<u8>) -> Fate {
    let draw: f64 = random.random();
    let no_id = draw < 0.01;
    let cents: i64 = if draw < 0.98 { random.random_range(1..50_000) } else { -random.random_range(0..5_000) };
    out.extend_from_slice(b"{\"event_id\":");
    if no_id {
        out.extend_from_slice(b"null");
    } else {
        id(random, out);
    }
    let bits: u32 = random.random();
    let pick = |from: u32, of: usize| (bits >> from) as usize % of;
    put!(
        out,
        ",\"user_id\":\"user-{:06}\",\"event_type\":\"{}\",\"amount\":{},\"currency\":\"{}\",\"event_time\":{}{more},\
         \"metadata\":{{\"source\":\"{}\",\"ip\":\"10.{}.{}.{}\",\"campaign\":\"c-{}\",\"app_version\":\"4.{}.{}\"}}}}",
        bits % 100_000,
        TYPES[pick(0, TYPES.len())],
        cents as f64 / 100.0,
        CURRENCIES[pick(8, CURRENCIES.len())],
        time(random, index, of),
        SOURCES[pick(12, SOURCES.len())],
        pick(4, 256),
        pick(12, 256),
        pick(20, 256),
        bits % 997,
        bits % 30,
        bits % 7
    );
    if no_id || cents <= 0 { Fate::Filtered } else { Fate::Written }
}

/// The sample job's events.
pub(super) fn sample(random: &mut StdRng, index: u64, of: u64, out: &mut Vec<u8>) -> Fate {
    event(random, index, of, "", out)
}

/// The same with one more member, of 500 values in no order.
pub(super) fn scattered(random: &mut StdRng, index: u64, of: u64, out: &mut Vec<u8>) -> Fate {
    let shop = format!(",\"shop\":{}", random.random_range(0..500));
    event(random, index, of, &shop, out)
}

/// The sample job's events, one of a hundred cut off in its middle.
pub(super) fn damaged(random: &mut StdRng, index: u64, of: u64, out: &mut Vec<u8>) -> Fate {
    let fate = event(random, index, of, "", out);
    if random.random_range(0..100) > 0 {
        return fate;
    }
    out.truncate(out.len() / 2);
    Fate::Dead
}

fn text(random: &mut StdRng, length: usize, out: &mut Vec<u8>) {
    let start = out.len();
    while out.len() - start < length {
        out.extend_from_slice(WORDS[random.random_range(0..WORDS.len())].as_bytes());
        if random.random_range(0..4) == 0 {
            put!(out, " {:x}", random.random::<u32>());
        }
        out.push(b' ');
    }
}

/// 100 columns: strings, doubles, integers, booleans in turn.
pub(super) fn wide(random: &mut StdRng, index: u64, of: u64, out: &mut Vec<u8>) -> Fate {
    put!(out, "{{\"t\":{}", time(random, index, of));
    for n in 0..99 {
        match n % 4 {
            0 => {
                put!(out, ",\"field_{n:02}\":\"value-{:05}\"", random.random_range(0..100_000_u32));
            }
            1 => {
                put!(out, ",\"field_{n:02}\":{}", f64::from(random.random_range(0..10_000_000_u32)) / 1000.0);
            }
            2 => {
                put!(out, ",\"field_{n:02}\":{}", random.random_range(0..1_000_000_u32));
            }
            _ => {
                put!(out, ",\"field_{n:02}\":{}", random.random::<bool>());
            }
        }
    }
    out.push(b'}');
    Fate::Written
}

/// Orders: structs four deep, arrays of structs with arrays, a map.
pub(super) fn nested(random: &mut StdRng, index: u64, of: u64, out: &mut Vec<u8>) -> Fate {
    put!(out, "{{\"t\":{},\"order\":{{\"id\":", time(random, index, of));
    id(random, out);
    put!(
        out,
        ",\"customer\":{{\"name\":\"customer {:06}\",\"address\":{{\"street\":\"{} street {}\",\"city\":\"city {}\",\"geo\":\
         {{\"lat\":{},\"lon\":{}}}}}}},\"items\":[",
        random.random_range(0..1_000_000_u32),
        WORDS[random.random_range(0..WORDS.len())],
        random.random_range(1..200_u32),
        random.random_range(0..500_u32),
        f64::from(random.random_range(-900_000..900_000_i32)) / 10_000.0,
        f64::from(random.random_range(-1_800_000..1_800_000_i32)) / 10_000.0
    );
    for item in 0..random.random_range(1..5_u32) {
        if item > 0 {
            out.push(b',');
        }
        put!(
            out,
            "{{\"sku\":\"sku-{:06}\",\"quantity\":{},\"prices\":[{},{}]}}",
            random.random_range(0..50_000_u32),
            random.random_range(1..9_u32),
            f64::from(random.random_range(1..100_000_u32)) / 100.0,
            f64::from(random.random_range(1..100_000_u32)) / 100.0
        );
    }
    put!(
        out,
        "],\"labels\":{{\"channel\":\"{}\",\"campaign\":\"c-{}\",\"priority\":\"{}\"}}}}}}",
        SOURCES[random.random_range(0..SOURCES.len())],
        random.random_range(0..997_u32),
        random.random_range(0..3_u32)
    );
    Fate::Written
}

/// Lines of a log, two kilobytes each.
pub(super) fn large(random: &mut StdRng, index: u64, of: u64, out: &mut Vec<u8>) -> Fate {
    put!(out, "{{\"t\":{},\"id\":", time(random, index, of));
    id(random, out);
    put!(out, ",\"level\":\"{}\",\"body\":\"", ["info", "warn", "error"][random.random_range(0..3)]);
    text(random, 1930, out);
    out.extend_from_slice(b"\"}");
    Fate::Written
}

/// A time and a number.
pub(super) fn tiny(random: &mut StdRng, index: u64, of: u64, out: &mut Vec<u8>) -> Fate {
    put!(out, "{{\"t\":{},\"v\":{}}}", time(random, index, of), random.random_range(0..1_000_000_u32));
    Fate::Written
}

/// Text in which letters beyond ASCII stand everywhere.
pub(super) fn unicode(random: &mut StdRng, index: u64, of: u64, out: &mut Vec<u8>) -> Fate {
    put!(
        out,
        "{{\"t\":{},\"id\":{},\"city\":\"{}\",\"title\":\"",
        time(random, index, of),
        random.random_range(0..1_000_000_000_u64),
        CITIES[random.random_range(0..CITIES.len())]
    );
    for (length, end) in [(12, "\",\"text\":\""), (50, "\"}")] {
        for _ in 0..length {
            out.extend_from_slice(LETTERS[random.random_range(0..LETTERS.len())].as_bytes());
            out.push(random.random_range(b'a'..=b'z'));
        }
        out.extend_from_slice(end.as_bytes());
    }
    Fate::Written
}

/// 50 members, of which a job wants a few.
pub(super) fn projection(random: &mut StdRng, index: u64, of: u64, out: &mut Vec<u8>) -> Fate {
    put!(out, "{{\"t\":{}", time(random, index, of));
    for n in 0..49 {
        if n % 2 == 0 {
            put!(out, ",\"field_{n:02}\":\"value-{:05}\"", random.random_range(0..100_000_u32));
        } else {
            put!(out, ",\"field_{n:02}\":{}", f64::from(random.random_range(0..10_000_000_u32)) / 1000.0);
        }
    }
    out.push(b'}');
    Fate::Written
}
