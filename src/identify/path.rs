//! Paths of scripts: what is the script, whose home it stands in, and what looks wrong about it.
//!
//! Decides which file names are scripts, which folders hold data and no code, and when a name looks
//! made by a machine. The measure of the last is crude on purpose and documented at
//! [`is_random`]; it speaks of letters only, so names in no Latin script are never judged.

/// Folders in which a web site keeps data. Code that runs there was brought in, or is about to be
/// thrown away. `images` and `files` are missing: old sites keep honest scripts in them.
const DATA_FOLDERS: [&str; 7] = ["upload", "uploads", "cache", "tmp", "temp", "sessions", "shm"];

/// Folders whose children are named by their makers, each a product of its own.
const PRODUCT_FOLDERS: [&str; 6] =
    ["plugins", "mu-plugins", "themes", "modules", "components", "extensions"];

/// Dotted names that standards and tools put into web roots.
const PLAIN_DOTTED: [&str; 4] = [".", "..", ".well-known", ".trash"];

const SCRIPT_ENDINGS: [&str; 14] = [
    "php", "php3", "php4", "php5", "php7", "php8", "phtml", "phar", "cgi", "pl", "py", "rb", "sh",
    "asp",
];

/// What looks wrong about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    HiddenFile,
    HiddenFolder,
    DataFolder,
    RandomName,
}

/// Whether the last segment is named like a script.
pub fn is_script(path: &str) -> bool {
    let ending = path.rsplit('/').next().and_then(|file| file.rsplit_once('.'));
    ending.is_some_and(|(_, ending)| SCRIPT_ENDINGS.iter().any(|e| ending.eq_ignore_ascii_case(e)))
}

/// A path of a URL up to its script, without query: what follows the script is the visitor's, and
/// would give one form a thousand names.
pub fn up_to_script(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let mut kept = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !matches!(*segment, "" | ".")) {
        kept.push('/');
        kept.push_str(segment);
        if is_script(segment) {
            return kept;
        }
    }
    if kept.is_empty() { "/".to_owned() } else { kept }
}

/// Whose home folder a path is in: `/home/acct/..`, `/home2/acct/..`, `/usr/home/acct/..`,
/// `/var/www/vhosts/domain/..`.
pub fn owner(path: &str) -> Option<&str> {
    let (name, _) = in_home(path)?;
    Some(name)
}

/// The owner, and the path below the home folder.
fn in_home(path: &str) -> Option<(&str, &str)> {
    let below = path.strip_prefix("/usr").unwrap_or(path);
    let rest = match below.strip_prefix("/home") {
        Some(rest) => rest.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix('/'),
        None => path.strip_prefix("/var/www/vhosts/"),
    }?;
    let (name, inside) = rest.split_once('/')?;
    (!name.is_empty() && !matches!(name, "." | "..")).then_some((name, inside))
}

/// What looks wrong about a path, and where. The name of a home folder is not looked at.
pub fn oddities(path: &str) -> impl Iterator<Item = (Oddity, &str)> {
    let inside = in_home(path).map_or(path, |(_, inside)| inside);
    let (folders, file) = inside.rsplit_once('/').unwrap_or(("", inside));
    let hidden = |name: &str| name.starts_with('.') && !PLAIN_DOTTED.contains(&name);
    let file_is_odd = [
        (Oddity::HiddenFile, hidden(file)),
        (Oddity::RandomName, is_script(file) && is_random(stem(file))),
    ];
    let file_is_odd = file_is_odd.into_iter().filter(|(_, odd)| *odd);
    let mut before = "";
    let folders = folders.split('/').chain([""]).flat_map(move |folder| {
        let product = PRODUCT_FOLDERS.contains(&before);
        before = folder;
        let lower =
            folder.len() <= 8 && DATA_FOLDERS.iter().any(|f| folder.eq_ignore_ascii_case(f));
        let odd = [
            (Oddity::HiddenFolder, hidden(folder)),
            (Oddity::DataFolder, lower),
            (Oddity::RandomName, product && is_random(folder)),
        ];
        odd.into_iter().filter(|(_, odd)| *odd).map(move |(oddity, _)| (oddity, folder))
    });
    file_is_odd.map(move |(oddity, _)| (oddity, file)).chain(folders)
}

/// A folder whose last segment may itself be the product: for paths that end in a folder.
pub fn folder_oddities(folder: &str) -> impl Iterator<Item = (Oddity, &str)> {
    let last = folder.trim_end_matches('/').rsplit('/').next().unwrap_or("");
    let parent = folder.trim_end_matches('/').rsplit('/').nth(1).unwrap_or("");
    let random = PRODUCT_FOLDERS.contains(&parent) && is_random(last);
    let last_is_data = DATA_FOLDERS.iter().any(|name| last.eq_ignore_ascii_case(name));
    oddities(folder)
        .filter(|(oddity, _)| *oddity != Oddity::RandomName)
        .map(|(oddity, at)| match oddity {
            Oddity::HiddenFile => (Oddity::HiddenFolder, at),
            other => (other, at),
        })
        .chain(last_is_data.then_some((Oddity::DataFolder, last)))
        .chain(random.then_some((Oddity::RandomName, last)))
}

fn stem(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

/// Letters of a name below which it is not judged: short names are abbreviations.
const JUDGED_LETTERS_MIN: usize = 8;
const JUDGED_LETTERS_MAX: usize = 64;

/// Abbreviations that are no words of any language, taken out before letters are looked at.
const ABBREVIATIONS: [&str; 22] = [
    "html", "xhtml", "http", "https", "smtp", "imap", "sftp", "mysql", "pgsql", "sql", "xml",
    "rpc", "json", "jquery", "php", "css", "jpg", "png", "wp", "cf", "svg", "mkt",
];

/// Whether a name looks drawn at random. It does when it is one word of 8 letters and digits or
/// more, and either
/// - a third of its pairs of letters, and three at least, are rare in the words of European
///   languages, case apart; or
/// - letters and digits change places five times or more; or three times, with two rare pairs.
///
/// Names with a hyphen, underscore, dot or space are made of words and are not judged: that is what
/// people do with long names, and a generator that does it passes. Of strings drawn at random it finds
/// half with 8 small letters, two thirds with 10 to 16; the tests list names of people that pass.
pub fn is_random(name: &str) -> bool {
    let length = name.len();
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric());
    if !plain || !(JUDGED_LETTERS_MIN..=JUDGED_LETTERS_MAX).contains(&length) {
        return false;
    }
    let mut lower = name.to_ascii_lowercase();
    for abbreviation in ABBREVIATIONS {
        lower = lower.replace(abbreviation, "-");
    }
    let letters = lower.as_bytes();
    let (mut pairs, mut rare, mut changes) = (0, 0, 0);
    for pair in letters.windows(2) {
        let [a, b] = [pair[0], pair[1]];
        if a.is_ascii_lowercase() && b.is_ascii_lowercase() {
            pairs += 1;
            rare += usize::from(is_rare(a, b));
        }
        let kinds = [a, b].map(|octet| octet.is_ascii_digit());
        changes += usize::from(kinds[0] != kinds[1] && a != b'-' && b != b'-');
    }
    (rare >= 3 && 3 * rare >= pairs) || changes >= 5 || (changes >= 3 && rare >= 2)
}

fn is_rare(a: u8, b: u8) -> bool {
    !USUAL_PAIRS[usize::from(a - b'a')].as_bytes().contains(&b)
}

/// For each letter, the letters that follow it in words. Written down from English, German, French,
/// Italian, Spanish, Dutch and Polish vocabulary; compound words add what two of them meet in.
const USUAL_PAIRS: [&str; 26] = [
    "abcdefghijklmnoprstuvwxyz",
    "abcdeilorstuyj",
    "acehiklorstuyzq",
    "adefghilmnorstuvwyzb",
    "abcdefghijklmnopqrstuvwxyz",
    "aefiloqrtuys",
    "aeghilmnorstuyd",
    "abeilmnorstuyw",
    "abcdefgjklmnopqrstuvxz",
    "aeiou",
    "aefgilnorstuwyzk",
    "abcdefgiklmnopstuvyz",
    "abefilmnopstuy",
    "acdefghijklmnoqrstuvyz",
    "abcdefghijklmnopqrstuvwxyz",
    "aefhiloprstuy",
    "u",
    "abcdefghiklmnopqrstuvwyz",
    "abcdefghiklmnopqrstuvwyz",
    "abcefhilmnorstuvwyz",
    "abcdefgiklmnoprstuvxyz",
    "aeiloruy",
    "aehilnorsyu",
    "aceiotuyp",
    "abcdefilmnoprstuvwz",
    "aeiklnouwyz",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_names() {
        let random = [
            "fabklhqici",
            "9P7tiqGfhvd",
            "xkqzvbnm",
            "wqrtplkj",
            "a3f9c2e1b7",
            "hgjfkdls",
            "bvxczqwr",
            "q7w2e9r4",
            "jkxqwzpt",
            "zxcvbnmk",
            "Kf83jDq2Lx",
            "vdsgfhjk",
        ];
        let innocent = [
            "PHPMailer",
            "contactFormSend",
            "class-phpmailer",
            "akismet",
            "woocommerce",
            "jetpack",
            "contact-form-7",
            "wpforms-lite",
            "elementor",
            "wordfence",
            "timthumb",
            "xmlrpc",
            "wp-login",
            "updraftplus",
            "buddypress",
            "kcfinder",
            "ckeditor",
            "tinymce",
            "phpbbconfig",
            "htmlpurifier",
            "mysqldump",
            "swiftmailer",
            "kontaktformular",
            "przelewy24",
            "rechtschreibung",
            "subscribe2",
            "mp3tohtml5",
            "html5up4you",
            "advancedforms",
            "newsletter2go",
            "mailchimp4wp",
            "formulairecontact",
            "inschrijving",
            "wysija",
            "sitepress",
            "gravityforms",
            "ninjaforms",
            "revslider",
            "bbpress",
            "mailpoet",
            "hostinger",
            "worker",
            "jsonrpcserver",
            "backwpup",
            "litespeedcache",
            "yoastseo",
            "polylang",
            "loginizer",
            "sendmail2024",
            "bestellformular",
            "zapytanie",
            "richiestapreventivo",
            "presupuesto",
            "checkout",
            "notifications",
            "captchaimage",
            "cronjob",
            "dispatcher",
            "jqueryupload",
        ];
        for name in random {
            assert!(is_random(name), "{name}");
        }
        for name in innocent {
            assert!(!is_random(name), "{name}");
        }
    }

    #[test]
    fn paths_of_urls_end_at_their_script() {
        let rows = [
            ("/contact.php", "/contact.php"),
            ("//a/./contact.php/x/y?z", "/a/contact.php"),
            ("/index.PHP/evil.php", "/index.PHP"),
            ("/about/", "/about"),
            ("/", "/"),
            ("", "/"),
        ];
        for (path, expected) in rows {
            assert_eq!(up_to_script(path), expected, "{path}");
        }
    }

    #[test]
    fn homes_have_owners() {
        let rows = [
            ("/home/acct1/public_html/x.php", Some("acct1")),
            ("/home12/acct1/x.php", Some("acct1")),
            ("/usr/home/acct1/x.php", Some("acct1")),
            ("/var/www/vhosts/shop.example/httpdocs/x.php", Some("shop.example")),
            ("/home/", None),
            ("/home/acct1", None),
            ("/homes/acct1/x", None),
            ("/home/../etc/x", None),
            ("/usr/local/bin/php", None),
        ];
        for (path, expected) in rows {
            assert_eq!(owner(path), expected, "{path}");
        }
    }

    #[test]
    fn odd_places() {
        let odd = |path| oddities(path).map(|(oddity, _)| oddity).collect::<Vec<_>>();
        assert_eq!(odd("/home/tmp/public_html/contact.php"), []);
        assert_eq!(odd("/home/a/public_html/.x.php"), [Oddity::HiddenFile]);
        assert_eq!(odd("/.git/x.php"), [Oddity::HiddenFolder]);
        assert_eq!(odd("/.well-known/x.php"), []);
        assert_eq!(odd("/wp-content/Uploads/2024/x.php"), [Oddity::DataFolder]);
        assert_eq!(odd("/wp-content/plugins/fabklhqici/mail.php"), [Oddity::RandomName]);
        let odd = |path| folder_oddities(path).map(|(oddity, _)| oddity).collect::<Vec<_>>();
        assert_eq!(odd("/public_html/wp-content/plugins/fabklhqici"), [Oddity::RandomName]);
        assert_eq!(odd("/public_html/wp-content/plugins/akismet"), []);
        assert_eq!(odd("/public_html/wp-content/uploads"), [Oddity::DataFolder]);
        assert_eq!(odd("/public_html/.hid"), [Oddity::HiddenFolder]);
    }
}
