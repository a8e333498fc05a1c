//! Everything that the content of a message can tell against it, as one closed list.
//!
//! A [`Sign`] is a fact, not a judgement: many stand in honest mail. Weights are given elsewhere.
//! Names are stable, since rules, logs and trained models refer to them. Of each sign the first
//! evidence is kept and the others are counted, so a message cannot make the list long.

use super::limits::Bound;

/// Letters of one evidence.
const EVIDENCE_LETTERS_MAX: usize = 120;

macro_rules! signs {
    ($($(#[$doc:meta])* $sign:ident = $name:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Sign {
            $($(#[$doc])* $sign,)*
            /// A bound of [`super::limits::ContentLimits`] ended the reading of something.
            TooComplex(Bound),
        }

        impl Sign {
            /// All but `TooComplex`, which there is once for each bound.
            pub const PLAIN: &'static [Self] = &[$(Self::$sign,)*];

            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$sign => $name,)*
                    Self::TooComplex(_) => "too-complex",
                }
            }
        }
    };
}

signs! {
    FromMissing = "from-missing",
    DateMissing = "date-missing",
    MessageIdMissing = "message-id-missing",
    SubjectMissing = "subject-missing",
    /// Neither To nor Cc nor Bcc.
    RecipientsMissing = "recipients-missing",
    /// RFC 5322 3.6: a field that may stand once stands twice.
    FieldDuplicated = "field-duplicated",
    /// A line of the header that is neither a field nor goes on with one.
    HeaderNotField = "header-not-field",
    HeaderControl = "header-control",
    /// Octets above 127 that are not UTF-8 in a header.
    HeaderRawOctets = "header-raw-octets",
    FromUnreadable = "from-unreadable",
    FromSeveral = "from-several",
    DateUnreadable = "date-unreadable",
    MessageIdUnreadable = "message-id-unreadable",
    /// A display name that is an address of another domain than the address behind it.
    NameShowsOtherAddress = "name-shows-other-address",
    /// Reply-To leads to another domain than From.
    ReplyElsewhere = "reply-elsewhere",
    /// `Re:` without a message that it answers.
    ReplyToNothing = "reply-to-nothing",
    SubjectShouting = "subject-shouting",
    SubjectSpaced = "subject-spaced",
    UndisclosedRecipients = "undisclosed-recipients",
    EncodedWordBroken = "encoded-word-broken",
    /// Plain ASCII letters in base64: hides words from simple filters.
    EncodedWordNeedless = "encoded-word-needless",
    EncodedWordCharsets = "encoded-word-charsets",
    /// MIME fields without MIME-Version.
    MimeVersionMissing = "mime-version-missing",
    ContentTypeBroken = "content-type-broken",
    BoundaryMissing = "boundary-missing",
    MultipartEmpty = "multipart-empty",
    MultipartUnclosed = "multipart-unclosed",
    TransferUnknown = "transfer-unknown",
    Base64Broken = "base64-broken",
    QuotedPrintableBroken = "quoted-printable-broken",
    /// A text part of ASCII in base64.
    Base64Needless = "base64-needless",
    CharsetUnknown = "charset-unknown",
    CharsetBroken = "charset-broken",
    /// A message attached in base64 or quoted-printable, which RFC 2046 5.2.1 forbids.
    MessageEncoded = "message-encoded",
    HtmlOnly = "html-only",
    /// The plain alternative says other things than the HTML that is shown.
    AlternativeDiffers = "alternative-differs",
    NulInText = "nul-in-text",
    ZeroWidthLetters = "zero-width-letters",
    SoftHyphens = "soft-hyphens",
    /// Controls that turn the direction of writing.
    DirectionTurned = "direction-turned",
    /// Latin letters side by side with Cyrillic or Greek ones.
    MixedScripts = "mixed-scripts",
    /// Mathematical letters instead of plain ones.
    StyledLetters = "styled-letters",
    /// More text than a preheader needs that a reader does not see.
    HiddenText = "hidden-text",
    HiddenLink = "hidden-link",
    LinkTextDiffers = "link-text-differs",
    Form = "form",
    FormPassword = "form-password",
    Script = "script",
    Frame = "frame",
    MetaRefresh = "meta-refresh",
    BaseChanged = "base-changed",
    ExternalStyle = "external-style",
    TrackingPixel = "tracking-pixel",
    /// Pictures and hardly a word.
    ImagesOnly = "images-only",
    /// Comments of HTML in the middle of words.
    WordsSplit = "words-split",
    /// Plain letters written as character references.
    LettersAsReferences = "letters-as-references",
    DataUrl = "data-url",
    JavascriptUrl = "javascript-url",
    LinkUserinfo = "link-userinfo",
    LinkIpLiteral = "link-ip-literal",
    /// An IP address written as a whole number, octal or hexadecimal.
    LinkIpDisguised = "link-ip-disguised",
    LinkPort = "link-port",
    LinkHostEscaped = "link-host-escaped",
    LinkHostInternational = "link-host-international",
    LinkHostDeep = "link-host-deep",
    /// A page below the folders of WordPress's own code.
    LinkWordpressFolder = "link-wordpress-folder",
    LinkHiddenFolder = "link-hidden-folder",
    LinkProgram = "link-program",
    LinkShortened = "link-shortened",
    LinkRedirects = "link-redirects",
    /// The address of a recipient stands in the link.
    LinkNamesRecipient = "link-names-recipient",
    AttachmentProgram = "attachment-program",
    AttachmentScript = "attachment-script",
    AttachmentShortcut = "attachment-shortcut",
    AttachmentMacro = "attachment-macro",
    AttachmentPdfScript = "attachment-pdf-script",
    AttachmentPdfLaunch = "attachment-pdf-launch",
    AttachmentHtml = "attachment-html",
    AttachmentHtmlForm = "attachment-html-form",
    AttachmentHtmlScript = "attachment-html-script",
    AttachmentSvgScript = "attachment-svg-script",
    AttachmentDiskImage = "attachment-disk-image",
    ArchiveProgram = "archive-program",
    ArchiveMacro = "archive-macro",
    ArchiveEncrypted = "archive-encrypted",
    ArchiveInArchive = "archive-in-archive",
    ArchiveBomb = "archive-bomb",
    ArchiveBroken = "archive-broken",
    NameTwoEndings = "name-two-endings",
    NameTurned = "name-turned",
    NamePadded = "name-padded",
    NameContradicted = "name-contradicted",
    Eicar = "eicar",
}

/// One sign, how often it was seen, and where first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub sign: Sign,
    pub count: u32,
    /// At most 120 letters, no controls.
    pub evidence: Box<str>,
}

/// The facts of a message, each sign once, in the order in which they were met.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    list: Vec<Fact>,
}

impl Facts {
    pub fn list(&self) -> &[Fact] {
        &self.list
    }

    pub fn get(&self, sign: Sign) -> Option<&Fact> {
        self.list.iter().find(|fact| fact.sign == sign)
    }

    pub fn has(&self, sign: Sign) -> bool {
        self.get(sign).is_some()
    }

    pub(super) fn add(&mut self, sign: Sign, evidence: &str) {
        self.add_many(sign, 1, evidence);
    }

    pub(super) fn add_many(&mut self, sign: Sign, count: u32, evidence: &str) {
        match self.list.iter_mut().find(|fact| fact.sign == sign) {
            Some(fact) => fact.count = fact.count.saturating_add(count),
            None => self.list.push(Fact { sign, count, evidence: clipped(evidence) }),
        }
    }

    pub(super) fn exceeded(&mut self, bound: Bound) {
        self.add(Sign::TooComplex(bound), bound.name());
    }
}

/// The first letters of `text`, with spaces for controls and for what turns the line.
pub(super) fn clipped(text: &str) -> Box<str> {
    let plain = |letter: char| match letter {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        letter if letter.is_control() => ' ',
        letter => letter,
    };
    text.trim().chars().take(EVIDENCE_LETTERS_MAX).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_kebab_case_and_each_is_given_once() {
        let names: BTreeSet<&str> = Sign::PLAIN.iter().map(|sign| sign.name()).collect();
        assert_eq!(names.len(), Sign::PLAIN.len());
        for name in names {
            let plain = |octet: u8| octet.is_ascii_lowercase() || b"-0123456789".contains(&octet);
            assert!(name.bytes().all(plain), "{name}");
        }
    }

    #[test]
    fn one_sign_is_kept_once_with_its_first_evidence_cut() {
        let mut facts = Facts::default();
        facts.add(Sign::Form, &"x\n".repeat(500));
        facts.add(Sign::Form, "second");
        let fact = facts.get(Sign::Form).expect("it was added");
        assert_eq!((facts.list().len(), fact.count), (1, 2));
        assert_eq!(&fact.evidence[..4], "x x ");
        assert!(fact.evidence.len() <= EVIDENCE_LETTERS_MAX);
    }
}
