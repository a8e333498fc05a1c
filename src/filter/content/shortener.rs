//! Hosts that turn short links into any others. A table; sorted, so that it can be searched.

pub(super) const SHORTENERS: &[&str] = &[
    "adf.ly",
    "bit.do",
    "bit.ly",
    "bitly.com",
    "bl.ink",
    "buff.ly",
    "clck.ru",
    "cutt.ly",
    "db.tt",
    "dlvr.it",
    "fb.me",
    "ge.tt",
    "goo.gl",
    "goo.su",
    "ht.ly",
    "is.gd",
    "j.mp",
    "kutt.it",
    "lc.chat",
    "lnkd.in",
    "mcaf.ee",
    "ow.ly",
    "po.st",
    "q.gs",
    "qr.ae",
    "qrco.de",
    "rb.gy",
    "rebrand.ly",
    "reurl.cc",
    "s.id",
    "shorte.st",
    "shorturl.at",
    "snip.ly",
    "soo.gd",
    "surl.li",
    "t.co",
    "t.ly",
    "t2m.io",
    "tiny.cc",
    "tinyurl.com",
    "tr.im",
    "trib.al",
    "u.to",
    "urlz.fr",
    "v.gd",
    "vk.cc",
    "wp.me",
    "x.gd",
    "yourls.org",
];

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_is_sorted() {
        assert!(super::SHORTENERS.is_sorted());
    }
}
