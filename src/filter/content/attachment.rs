//! What an attached file is: by its first octets, by its name, and by what both say together.
//!
//! The kind comes from the octets where they tell (`file(1)`'s magic of the formats that matter),
//! and from the ending of the name where they do not, as with scripts. Decides kinds; never
//! unpacks, inflates or runs anything. Signs carry the name as evidence.

use super::charset;
use super::limits::ContentLimits;
use super::sign::{Facts, Sign};
use super::zip::{self, Directory};
use memchr::memmem;
use std::borrow::Cow;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Pe,
    Elf,
    MachO,
    Script,
    Shortcut,
    /// An OLE or OOXML document with macros.
    MacroDocument,
    Document,
    Pdf,
    Html,
    Svg,
    Zip,
    Rar,
    SevenZip,
    Gzip,
    Cab,
    DiskImage,
    Image,
    Calendar,
    Text,
    Other,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pe => "pe",
            Self::Elf => "elf",
            Self::MachO => "mach-o",
            Self::Script => "script",
            Self::Shortcut => "shortcut",
            Self::MacroDocument => "macro-document",
            Self::Document => "document",
            Self::Pdf => "pdf",
            Self::Html => "html",
            Self::Svg => "svg",
            Self::Zip => "zip",
            Self::Rar => "rar",
            Self::SevenZip => "7z",
            Self::Gzip => "gzip",
            Self::Cab => "cab",
            Self::DiskImage => "disk-image",
            Self::Image => "image",
            Self::Calendar => "calendar",
            Self::Text => "text",
            Self::Other => "other",
        }
    }
}

/// How a part came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// With the text, as pictures are.
    Inline,
    Attached,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Decoded; empty where there is none.
    pub name: Box<str>,
    /// The media type that the part claims, in lower case.
    pub claimed: Box<str>,
    pub kind: Kind,
    /// Octets, decoded; of a large one estimated from its encoded length.
    pub size: u64,
    pub shown: Shown,
    /// Names inside of an archive, as many as a bound allows.
    pub names: Vec<Box<str>>,
}

/// The decoded octets of a file, or of a large one its two ends.
pub(super) struct Octets<'a> {
    pub(super) head: Cow<'a, [u8]>,
    /// Empty when `head` is all of it.
    pub(super) tail: Cow<'a, [u8]>,
    pub(super) size: u64,
}

impl Octets<'_> {
    fn find(&self, needle: &[u8]) -> bool {
        let found = |octets: &[u8]| memmem::find(octets, needle).is_some();
        found(&self.head) || found(&self.tail)
    }

    fn end(&self) -> &[u8] {
        if self.tail.is_empty() { &self.head } else { &self.tail }
    }
}

/// What a name ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Program,
    Script,
    Shortcut,
    MacroDocument,
    Document,
    Pdf,
    Html,
    Svg,
    Archive,
    DiskImage,
    Image,
    Text,
    Unknown,
}

#[rustfmt::skip]
const ENDINGS: &[(Ending, &[&str])] = &[
    (Ending::Program, &["exe", "scr", "com", "pif", "cpl", "msi", "msp", "dll", "jar", "apk", "ocx", "sys", "gadget", "xll", "appx", "msix"]),
    (Ending::Script, &["js", "jse", "vbs", "vbe", "wsf", "wsh", "wsc", "hta", "ps1", "psm1", "bat", "cmd", "sh", "reg", "sct", "chm", "py", "pl", "ahk"]),
    (Ending::Shortcut, &["lnk", "url", "scf", "library-ms", "searchconnector-ms", "appref-ms", "desktop", "website"]),
    (Ending::MacroDocument, &["docm", "dotm", "xlsm", "xltm", "xlam", "pptm", "potm", "ppam", "ppsm", "sldm", "xlsb"]),
    (Ending::Document, &["doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods", "odp", "rtf", "dot", "one"]),
    (Ending::Pdf, &["pdf"]),
    (Ending::Html, &["html", "htm", "shtml", "xhtml", "mht", "mhtml", "shtm", "xht"]),
    (Ending::Svg, &["svg", "svgz"]),
    (Ending::Archive, &["zip", "rar", "7z", "gz", "tgz", "cab", "ace", "arj", "tar", "bz2", "xz", "lzh", "uue", "r00", "z"]),
    (Ending::DiskImage, &["iso", "img", "vhd", "vhdx", "udf", "daa", "dmg"]),
    (Ending::Image, &["png", "jpg", "jpeg", "gif", "bmp", "webp", "tif", "tiff", "ico", "heic"]),
    (Ending::Text, &["txt", "csv", "log", "xml", "json", "ics", "vcf", "md", "eml"]),
];

fn ending(name: &str) -> Ending {
    let Some((_, last)) = name.trim_end_matches([' ', '.', '\t']).rsplit_once('.') else {
        return Ending::Unknown;
    };
    let known = |list: &[&str]| list.iter().any(|one| last.eq_ignore_ascii_case(one));
    ENDINGS.iter().find(|(_, list)| known(list)).map_or(Ending::Unknown, |(ending, _)| *ending)
}

impl Ending {
    /// Opens something that runs.
    const fn runs(self) -> bool {
        matches!(self, Self::Program | Self::Script | Self::Shortcut)
    }

    /// A reader thinks nothing of it.
    const fn harmless(self) -> bool {
        matches!(self, Self::Document | Self::Pdf | Self::Image | Self::Text)
    }
}

/// Looks at one file. HTML is left to the caller, who has a scanner for it.
pub(super) fn read(
    name: &str,
    claimed: &str,
    shown: Shown,
    octets: &Octets<'_>,
    limits: &ContentLimits,
    facts: &mut Facts,
) -> Attachment {
    look_at_name(name, facts);
    let told = magic(octets);
    let directory = (told == Some(Kind::Zip)).then(|| zip::read(octets.end(), limits, facts));
    let mut names = Vec::new();
    let mut kind = told.unwrap_or_else(|| by_words(name, claimed, octets));
    if let Some(directory) = directory {
        let directory = directory.unwrap_or_else(|| {
            facts.add(Sign::ArchiveBroken, name);
            Directory::default()
        });
        kind = zip_kind(&directory);
        look_at_archive(name, kind, &directory, facts);
        names = directory.names.iter().map(|name| name.as_str().into()).collect();
    }
    if kind == Kind::Document && octets.find(b"_\0V\0B\0A\0_\0P\0R\0O\0J\0E\0C\0T\0") {
        kind = Kind::MacroDocument;
    }
    tell(kind, name, octets, facts);
    if contradicted(told.map(|_| kind), ending(name)) {
        facts.add(Sign::NameContradicted, &format!("{name} is {}", kind.name()));
    }
    if octets.find(&eicar()) {
        facts.add(Sign::Eicar, name);
    }
    Attachment { name: name.into(), claimed: claimed.into(), kind, size: octets.size, shown, names }
}

fn look_at_name(name: &str, facts: &mut Facts) {
    if name.contains([
        '\u{202e}', '\u{202d}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{202a}', '\u{202b}',
    ]) {
        facts.add(Sign::NameTurned, name);
    }
    if name.contains("     ") || name.contains('\u{2800}') || name.contains('\u{3164}') {
        facts.add(Sign::NamePadded, name);
    }
    let last = ending(name);
    let before = name.rsplit_once('.').map_or("", |(before, _)| before.trim_end());
    let opens = last.runs() || matches!(last, Ending::Html | Ending::DiskImage);
    if opens && ending(before).harmless() {
        facts.add(Sign::NameTwoEndings, name);
    }
}

/// By the first octets.
fn magic(octets: &Octets<'_>) -> Option<Kind> {
    let head = octets.head.as_ref();
    let starts = |with: &[u8]| head.starts_with(with);
    let kind = match head.get(..4)? {
        [b'M', b'Z', ..] if is_pe(head) => Kind::Pe,
        b"\x7fELF" => Kind::Elf,
        b"\xfe\xed\xfa\xce" | b"\xfe\xed\xfa\xcf" | b"\xce\xfa\xed\xfe" | b"\xcf\xfa\xed\xfe" => {
            Kind::MachO
        }
        b"L\0\0\0" if starts(b"L\0\0\0\x01\x14\x02\0") => Kind::Shortcut,
        b"\xd0\xcf\x11\xe0" => Kind::Document,
        b"PK\x03\x04" | b"PK\x05\x06" | b"PK\x07\x08" => Kind::Zip,
        b"Rar!" => Kind::Rar,
        b"7z\xbc\xaf" => Kind::SevenZip,
        [0x1f, 0x8b, ..] => Kind::Gzip,
        b"MSCF" => Kind::Cab,
        b"\x89PNG" | b"GIF8" | [0xff, 0xd8, 0xff, _] | b"RIFF" | b"II*\0" | b"MM\0*" => Kind::Image,
        b"{\\rt" => Kind::Document,
        _ if memmem::find(&head[..head.len().min(1024)], b"%PDF-").is_some() => Kind::Pdf,
        _ if head.get(0x8001..0x8006) == Some(b"CD001") => Kind::DiskImage,
        _ => return None,
    };
    Some(kind)
}

/// `MZ` alone begins texts as well: the header that it points to has to be there, or be cut off.
fn is_pe(head: &[u8]) -> bool {
    let Some(at) = head.get(0x3c..0x40) else {
        return false;
    };
    let at = u32::from_le_bytes([at[0], at[1], at[2], at[3]]) as usize;
    match head.get(at..at.saturating_add(4)) {
        Some(word) => word == b"PE\0\0" || word.starts_with(b"NE"),
        None => at < 1 << 20 && at >= head.len(),
    }
}

/// By name, claim and the first words, where the octets are text or unknown.
fn by_words(name: &str, claimed: &str, octets: &Octets<'_>) -> Kind {
    let start = octets.head.trim_ascii_start();
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let words = charset::guess(&start[..start.len().min(512)]).to_ascii_lowercase();
    if words.starts_with("<svg") || words.starts_with("<?xml") && words.contains("<svg") {
        return Kind::Svg;
    }
    if words.starts_with("<!doctype html")
        || words.starts_with("<html")
        || words.starts_with("<script")
    {
        return Kind::Html;
    }
    if words.starts_with("#!") {
        return Kind::Script;
    }
    if words.starts_with("begin:vcalendar") || claimed == "text/calendar" {
        return Kind::Calendar;
    }
    match ending(name) {
        Ending::Script => Kind::Script,
        Ending::Shortcut => Kind::Shortcut,
        Ending::Html => Kind::Html,
        Ending::Svg => Kind::Svg,
        Ending::DiskImage => Kind::DiskImage,
        _ if claimed == "text/html" => Kind::Html,
        _ if claimed == "image/svg+xml" => Kind::Svg,
        _ if claimed.starts_with("image/") => Kind::Image,
        Ending::Text => Kind::Text,
        _ if claimed.starts_with("text/") => Kind::Text,
        _ => Kind::Other,
    }
}

/// What a zip archive is by the names inside.
fn zip_kind(directory: &Directory) -> Kind {
    let has = |part: &str| directory.names.iter().any(|name| name.contains(part));
    let office = has("[Content_Types].xml");
    if office && has("vbaProject.bin") {
        Kind::MacroDocument
    } else if office || has("META-INF/manifest.xml") && has("content.xml") {
        Kind::Document
    } else {
        Kind::Zip
    }
}

fn look_at_archive(name: &str, kind: Kind, directory: &Directory, facts: &mut Facts) {
    // A ratio that deflate hardly reaches with honest files, and a size that hurts.
    const RATIO_MAX: u64 = 200;
    const UNPACKED_BYTES_MIN: u64 = 32 * 1024 * 1024;
    if directory.unpacked >= UNPACKED_BYTES_MIN
        && directory.unpacked / directory.packed.max(1) >= RATIO_MAX
    {
        let evidence = format!("{name}: {} to {} octets", directory.packed, directory.unpacked);
        facts.add(Sign::ArchiveBomb, &evidence);
    }
    if directory.encrypted > 0 {
        facts.add(Sign::ArchiveEncrypted, name);
    }
    if kind != Kind::Zip {
        return;
    }
    for inner in &directory.names {
        let evidence = || format!("{name}: {inner}");
        match ending(inner) {
            ending if ending.runs() => facts.add(Sign::ArchiveProgram, &evidence()),
            Ending::MacroDocument => facts.add(Sign::ArchiveMacro, &evidence()),
            Ending::Archive | Ending::DiskImage => facts.add(Sign::ArchiveInArchive, &evidence()),
            _ => {}
        }
        look_at_name(inner, facts);
    }
}

/// The signs that the kind itself is.
fn tell(kind: Kind, name: &str, octets: &Octets<'_>, facts: &mut Facts) {
    match kind {
        Kind::Pe | Kind::Elf | Kind::MachO => facts.add(Sign::AttachmentProgram, name),
        Kind::Script => facts.add(Sign::AttachmentScript, name),
        Kind::Shortcut => facts.add(Sign::AttachmentShortcut, name),
        Kind::MacroDocument => facts.add(Sign::AttachmentMacro, name),
        Kind::DiskImage => facts.add(Sign::AttachmentDiskImage, name),
        Kind::Html => facts.add(Sign::AttachmentHtml, name),
        Kind::Pdf => {
            if octets.find(b"/JavaScript") || octets.find(b"/JS ") || octets.find(b"/JS(") {
                facts.add(Sign::AttachmentPdfScript, name);
            }
            if octets.find(b"/Launch") {
                facts.add(Sign::AttachmentPdfLaunch, name);
            }
        }
        Kind::Svg => {
            let active =
                [&b"<script"[..], b"javascript:", b"onload=", b"<foreignObject", b"onclick="];
            if active.iter().any(|word| octets.find(word)) {
                facts.add(Sign::AttachmentSvgScript, name);
            }
        }
        Kind::Document
        | Kind::Zip
        | Kind::Rar
        | Kind::SevenZip
        | Kind::Gzip
        | Kind::Cab
        | Kind::Image
        | Kind::Calendar
        | Kind::Text
        | Kind::Other => match ending(name) {
            Ending::Program => facts.add(Sign::AttachmentProgram, name),
            Ending::MacroDocument => facts.add(Sign::AttachmentMacro, name),
            _ => {}
        },
    }
}

/// Whether the octets are something else than the name says. `kind` is empty where only the name
/// told it.
fn contradicted(kind: Option<Kind>, ending: Ending) -> bool {
    let Some(kind) = kind else {
        return false;
    };
    match ending {
        Ending::Unknown
        | Ending::Script
        | Ending::Shortcut
        | Ending::DiskImage
        | Ending::Archive
        | Ending::Svg => {
            matches!(kind, Kind::Pe | Kind::Elf | Kind::MachO) && ending != Ending::Unknown
        }
        Ending::Program => false,
        Ending::MacroDocument | Ending::Document => {
            !matches!(kind, Kind::Document | Kind::MacroDocument | Kind::Text | Kind::Html)
        }
        Ending::Pdf => kind != Kind::Pdf,
        Ending::Image => kind != Kind::Image,
        Ending::Html => kind != Kind::Html,
        Ending::Text => {
            matches!(kind, Kind::Pe | Kind::Elf | Kind::MachO | Kind::Zip | Kind::Shortcut)
        }
    }
}

/// The test file of the antivirus industry, put together here so that no scanner takes this program
/// for it.
fn eicar() -> [u8; 68] {
    const FRONT: &[u8; 34] = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-";
    const BACK: &[u8; 34] = b"STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";
    let mut octets = [0; 68];
    octets[..34].copy_from_slice(FRONT);
    octets[34..].copy_from_slice(BACK);
    octets
}

/// For tests of the whole.
#[cfg(test)]
pub(super) fn eicar_text() -> String {
    String::from_utf8_lossy(&eicar()).into_owned()
}
