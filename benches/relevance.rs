//! Known-item search over real lessons: `cargo bench --bench relevance [-- SEED] [LESSONS.jsonl.gz]`.
//!
//! 500 queries of 3 to 6 content words are drawn from the body of one record each; that record is the one to be found. The same
//! queries are asked again with one word mistyped by one edit and another word in another inflection. A content word has at
//! least four letters, letters alone, and is no stop word. Baselines are single FTS5 tables over the same texts. Everything
//! that is random comes from the seed. Times are those of the search alone, in memory.
//!
//! Many lessons of the corpus share their text but for a number (the messages of bots), so some queries fit hundreds of
//! records. The column `sure` is what an order by chance would find among the records that have all the words of an exact query:
//! the mean of min(1, 10 / records).

#![allow(clippy::cast_precision_loss, reason = "printed figures")]

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;
use git_elf::index::{Filter, Index, Stamp};
use git_elf::record::Draft;
use rusqlite::Connection;

const QUERIES: usize = 500;
const TOP: usize = 10;

const STOP: &str = "about above after again against also because been before being below between both cannot could does doing down \
    during each from further have having here hers himself into itself just more most only once other ours over same should some \
    such than that their them then there these they this those through under until very were what when where which while whom \
    will with would your";

struct Query {
    item: usize,
    words: Vec<String>,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let named = args.iter().find(|arg| arg.parse::<u64>().is_err()).map(PathBuf::from);
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/lessons.jsonl.gz");
    let corpus = named.unwrap_or_else(usual);
    let Ok(file) = File::open(&corpus) else {
        println!("SKIPPED: {} is not there", corpus.display());
        return;
    };
    let seed = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(1);
    let lines =
        BufReader::new(flate2::read::GzDecoder::new(file)).lines().map(|line| line.expect("the corpus is readable"));
    let records: Vec<_> =
        lines.map(|line| Draft::from_json(&line).and_then(Draft::finish).expect("a record")).collect();
    let mut random = Rng::with_seed(seed);
    let bodies: Vec<&str> = records.iter().map(|record| record.body.as_str()).collect();
    let exact = queries(&bodies, &mut random);
    let noisy: Vec<Query> = exact.iter().map(|query| disturb(query, &mut random)).collect();

    println!("{} records, {QUERIES} queries each, seed {seed}", records.len());
    println!(
        "{:<34} {:>7} {:>6} {:>9} {:>9}   {:>7} {:>6} {:>9} {:>9}",
        "", "exact", "MRR", "median", "p95", "noisy", "MRR", "median", "p95"
    );
    let mut index = Index::in_memory().expect("memory");
    let mut batch = index.begin_in_memory().expect("memory");
    let items: HashMap<String, usize> =
        records.iter().enumerate().map(|(i, record)| (record.id.to_string(), i)).collect();
    let rows: Vec<[String; 4]> = records
        .iter()
        .map(|r| [r.title.clone(), r.body.clone(), r.tags.join(" "), r.domain.clone().unwrap_or_default()])
        .collect();
    for record in records {
        batch.put(&format!("{}.md", record.id), "0", record).expect("memory");
    }
    batch.commit(&Stamp::default()).expect("memory");
    let filter = Filter { limit: Some(TOP), ..Filter::default() };
    let ours = |words: &[String]| -> Vec<usize> {
        let found = index.search(&words.join(" "), &filter).expect("no query is an error");
        found.iter().map(|row| items[row.text("id")]).collect()
    };
    report("git elf search", &[&exact, &noisy], &ours);

    for (name, tokenizer, between) in [
        ("unicode61, AND", "unicode61 remove_diacritics 2", " "),
        ("unicode61, OR", "unicode61 remove_diacritics 2", " OR "),
        ("porter, AND", "porter unicode61 remove_diacritics 2", " "),
        ("porter, OR", "porter unicode61 remove_diacritics 2", " OR "),
        ("trigram, OR of trigrams", "trigram", "trigrams"),
    ] {
        let table = table(tokenizer, &rows);
        report(name, &[&exact, &noisy], &|words| ask(&table, &expression(words, between)));
        if name == "unicode61, AND" {
            let chances = exact.iter().map(|query| {
                let sql = "SELECT count(*) FROM t WHERE t MATCH ?1";
                let fits: u32 =
                    table.query_row(sql, [expression(&query.words, " ")], |row| row.get(0)).expect("a count");
                (TOP as f64 / f64::from(fits.max(1))).min(1.0)
            });
            println!("{:<34} {:>6.1}%", "  sure", chances.sum::<f64>() / QUERIES as f64 * 100.0);
        }
    }
}

fn queries(bodies: &[&str], random: &mut Rng) -> Vec<Query> {
    let stop: BTreeSet<&str> = STOP.split_whitespace().collect();
    let mut found = Vec::new();
    while found.len() < QUERIES {
        let item = random.usize(..bodies.len());
        let lower = bodies[item].to_lowercase();
        let words = lower.split(|c: char| !c.is_alphanumeric());
        let content =
            |word: &&str| word.len() >= 4 && word.bytes().all(|b| b.is_ascii_lowercase()) && !stop.contains(word);
        let mut words: Vec<&str> = words.filter(content).collect::<BTreeSet<_>>().into_iter().collect();
        if words.len() < 8 {
            continue;
        }
        random.shuffle(&mut words);
        words.truncate(random.usize(3..=6));
        found.push(Query { item, words: words.into_iter().map(str::to_owned).collect() });
    }
    found
}

fn disturb(query: &Query, random: &mut Rng) -> Query {
    let mut words = query.words.clone();
    let slip = random.usize(..words.len());
    let form = (slip + random.usize(1..words.len())) % words.len();
    words[slip] = mistype(&words[slip], random);
    words[form] = inflect(&words[form], random);
    Query { item: query.item, words }
}

/// Changes, leaves out or adds a letter, or swaps two.
fn mistype(word: &str, random: &mut Rng) -> String {
    loop {
        let mut letters: Vec<char> = word.chars().collect();
        let at = random.usize(..letters.len());
        match random.u8(..4) {
            0 => letters[at] = random.lowercase(),
            1 => drop(letters.remove(at)),
            2 => letters.insert(at, random.lowercase()),
            _ if at + 1 < letters.len() => letters.swap(at, at + 1),
            _ => {}
        }
        let mistyped: String = letters.into_iter().collect();
        if mistyped != word {
            return mistyped;
        }
    }
}

fn inflect(word: &str, random: &mut Rng) -> String {
    let mut any = |endings: &[&str]| endings[random.usize(..endings.len())].to_owned();
    let cut = |ending: &str, least: usize| word.strip_suffix(ending).filter(|stem| stem.len() >= least);
    if let Some(stem) = cut("ing", 4) {
        stem.to_owned() + &any(&["ed", "s", ""])
    } else if let Some(stem) = cut("ed", 4) {
        stem.to_owned() + &any(&["ing", "s", ""])
    } else if let Some(stem) = cut("ies", 2) {
        stem.to_owned() + "y"
    } else if let Some(stem) = cut("s", 3).filter(|stem| !stem.ends_with('s')) {
        stem.to_owned()
    } else if let Some(stem) = cut("e", 3) {
        stem.to_owned() + &any(&["es", "ed", "ing"])
    } else if let Some(stem) = cut("y", 3) {
        stem.to_owned() + "ies"
    } else {
        word.to_owned() + &any(&["s", "ed", "ing"])
    }
}

fn report(name: &str, sets: &[&[Query]], search: &dyn Fn(&[String]) -> Vec<usize>) {
    print!("{name:<34}");
    for queries in sets {
        let (mut hits, mut reciprocal) = (0, 0.0);
        let mut times: Vec<Duration> = Vec::new();
        for query in *queries {
            let start = Instant::now();
            let found = search(&query.words);
            times.push(start.elapsed());
            if let Some(place) = found.iter().take(TOP).position(|item| *item == query.item) {
                hits += 1;
                reciprocal += 1.0 / (place + 1) as f64;
            }
        }
        times.sort_unstable();
        let (count, ms) = (queries.len() as f64, |time: Duration| time.as_secs_f64() * 1e3);
        print!(
            " {:>6.1}% {:>6.3} {:>6.2} ms {:>6.2} ms  ",
            f64::from(hits) / count * 100.0,
            reciprocal / count,
            ms(times[times.len() / 2]),
            ms(times[times.len() * 95 / 100])
        );
    }
    println!();
}

fn table(tokenizer: &str, rows: &[[String; 4]]) -> Connection {
    let conn = Connection::open_in_memory().expect("memory");
    conn.execute_batch(&format!(
        "CREATE VIRTUAL TABLE t USING fts5 (title, body, tags, domain, tokenize = '{tokenizer}'); BEGIN"
    ))
    .expect("a table");
    for (i, row) in (0_i64..).zip(rows) {
        let [title, body, tags, domain] = row;
        conn.execute(
            "INSERT INTO t (rowid, title, body, tags, domain) VALUES (?1, ?2, ?3, ?4, ?5)",
            (i, title, body, tags, domain),
        )
        .expect("memory");
    }
    conn.execute_batch("COMMIT").expect("memory");
    conn
}

fn expression(words: &[String], between: &str) -> String {
    if between == "trigrams" {
        let trigrams: BTreeSet<&str> =
            words.iter().flat_map(|word| (0..word.len().saturating_sub(2)).map(|i| &word[i..i + 3])).collect();
        return trigrams.iter().map(|trigram| format!("\"{trigram}\"")).collect::<Vec<_>>().join(" OR ");
    }
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(between)
}

fn ask(table: &Connection, expression: &str) -> Vec<usize> {
    let mut statement =
        table.prepare_cached("SELECT rowid FROM t WHERE t MATCH ?1 ORDER BY rank LIMIT 10").expect("a statement");
    let rows = statement.query_map([expression], |row| row.get::<_, u32>(0)).expect("a query");
    rows.map(|row| row.expect("a number") as usize).collect()
}
