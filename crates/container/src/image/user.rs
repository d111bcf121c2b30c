//! Users and groups by name, as the image's own `/etc/passwd` and `/etc/group` define them (passwd(5),
//! group(5)).

use oci_spec::runtime as spec;

/// The identity of a process.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// User ID.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
    /// Supplementary group IDs.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
}

impl User {
    /// The identity in the runtime's format.
    pub fn spec(&self) -> spec::User {
        let mut made = spec::User::default();
        made.set_uid(self.uid).set_gid(self.gid).set_additional_gids(Some(self.groups.clone()));
        made
    }
}

/// The fields of each line of `/etc/passwd` or `/etc/group` that has enough of them.
fn lines(text: &str, fields: usize) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(move |f| f.len() >= fields)
}

/// The largest user or group ID. The kernel accepts one more bit, but the largest such value, 4294967295,
/// means "unchanged": a process would stay root.
const MOST: u32 = i32::MAX as u32;

/// Parses a number; `None` if the text has other characters than digits, and so is a name.
fn number(text: &str) -> Option<Result<u32, String>> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| {
        let found = text.parse().ok().filter(|n| *n <= MOST);
        found.ok_or_else(|| format!("'{text}' cannot be the number of a user or group: at most {MOST}"))
    })
}

/// Parses the number in a field of one of the image's files.
fn field(text: &str, whose: &str) -> Result<u32, String> {
    number(text)
        .unwrap_or_else(|| Err("it is not a number".into()))
        .map_err(|why| format!("{whose} has '{text}' as its number: {why}"))
}

/// A function that reads a file of the image; `None` where it does not exist.
pub type Read<'a> = dyn Fn(&str) -> Result<Option<String>, String> + 'a;

/// Finds `USER[:GROUP]`, each a name or a number; an empty text means root. A number is always taken as a
/// number, whatever names an image has (CVE-2026-46680). `read` reads a file of the image.
///
/// # Errors
/// A sentence if the image defines no such user or group, or a number is not valid.
pub fn find(named: &str, read: &Read) -> Result<User, String> {
    let passwd = read("/etc/passwd")?.unwrap_or_default();
    let group = read("/etc/group")?.unwrap_or_default();
    let (user, wanted) = named.split_once(':').unwrap_or((named, ""));
    let user = if user.is_empty() { "0" } else { user };
    let uid = number(user).transpose()?;
    // Compared as numbers: `007` is 7.
    let is_it = |name: &str, id: &str, wanted: &str, number: Option<u32>| match number {
        Some(n) => self::number(id).is_some_and(|id| id == Ok(n)),
        None => name == wanted,
    };
    let entry = lines(&passwd, 6).find(|f| is_it(f[0], f[2], user, uid));
    let mut found = match (&entry, uid) {
        (Some(fields), _) => {
            let whose = format!("user '{user}' of the image's /etc/passwd");
            let (uid, gid) = (field(fields[2], &whose)?, field(fields[3], &format!("the group of {whose}"))?);
            let home = if fields[5].is_empty() { "/" } else { fields[5] };
            User { uid, gid, groups: Vec::new(), home: home.into() }
        }
        (None, Some(uid)) => User { uid, gid: 0, groups: Vec::new(), home: "/".into() },
        (None, None) => {
            return Err(format!(
                "the image's /etc/passwd has no user '{user}': use a number, or one that it has"
            ));
        }
    };
    if wanted.is_empty() {
        let name = entry.map_or(user, |f| f[0]);
        let member = |f: &Vec<&str>| f[3].split(',').any(|m| m == name);
        found.groups = lines(&group, 4).filter(member).filter_map(|f| number(f[2])?.ok()).collect();
    } else {
        let gid = number(wanted).transpose()?;
        let entry = lines(&group, 3).find(|f| is_it(f[0], f[2], wanted, gid));
        found.gid = match (gid, entry) {
            (Some(gid), _) => gid,
            (None, Some(fields)) => field(fields[2], &format!("group '{wanted}' of the image's /etc/group"))?,
            (None, None) => {
                return Err(format!(
                    "the image's /etc/group has no group '{wanted}': use a number, or one that it has"
                ));
            }
        };
    }
    Ok(found)
}

/// The home directory of a user in the text of `/etc/passwd`; `/` if it has none.
pub fn home(passwd: &str, uid: u32) -> &str {
    let entry = lines(passwd, 6).find(|f| number(f[2]).is_some_and(|id| id == Ok(uid)));
    entry.map(|f| f[5]).filter(|home| !home.is_empty()).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(name: &str) -> Result<Option<String>, String> {
        Ok(match name {
            "/etc/passwd" => Some(
                "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\nbad:x:y:1::/:\n7:x:0:0::/root:/bin/sh\n\
                 all:x:4294967295:0::/:\nhigh:x:5:4294967295::/:\nplus:x:+0:0::/:\n"
                    .into(),
            ),
            "/etc/group" => Some(
                "root:x:0:\nstaff:x:50:web,root\nbroken\nwww:x:34:\n8:x:0:\nall:x:4294967295:web\n".into(),
            ),
            _ => None,
        })
    }

    fn user(uid: u32, gid: u32, groups: &[u32], home: &str) -> Result<User, String> {
        Ok(User { uid, gid, groups: groups.to_vec(), home: home.into() })
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(find("", &files), user(0, 0, &[50], "/root"));
        assert_eq!(find("web", &files), user(33, 34, &[50], "/srv"));
        assert_eq!(find("33", &files), user(33, 34, &[50], "/srv"));
        assert_eq!(find("web:staff", &files), user(33, 50, &[], "/srv"));
        assert_eq!(find("web:7", &files), user(33, 7, &[], "/srv"));
        assert_eq!(find("1000", &files), user(1000, 0, &[], "/"));
        assert_eq!(find("5:6", &|_| Ok(None)), user(5, 6, &[], "/"));
    }

    #[test]
    fn what_is_not_there_is_said() {
        assert!(find("nobody", &files).unwrap_err().contains("no user 'nobody'"));
        assert!(find("web:none", &files).unwrap_err().contains("no group 'none'"));
        assert!(find("bad", &files).unwrap_err().contains("not a number"));
        assert!(find("4294967296", &files).is_err());
        assert_eq!(find("1", &|_| Err("no way in".into())), Err("no way in".into()));
    }

    #[test]
    fn numbers_are_numbers() {
        // A user or group with such a name is a different one.
        assert_eq!(find("7", &files), user(7, 0, &[], "/"));
        assert_eq!(find("web:8", &files), user(33, 8, &[], "/srv"));
        assert_eq!(find("033", &files), user(33, 34, &[50], "/srv"));
        assert_eq!(find("2147483647:2147483647", &files), user(i32::MAX as u32, i32::MAX as u32, &[], "/"));
        for too_much in ["4294967295", "2147483648", "1:4294967295", "99999999999999999999"] {
            assert!(find(too_much, &files).unwrap_err().contains("2147483647"), "{too_much}");
        }
        for word in ["all", "high", "plus", "1:all", "+1", "-1", "1:-1", "1:+1"] {
            assert!(find(word, &files).is_err(), "{word}");
        }
    }

    #[test]
    fn homes() {
        let passwd = "broken\nann:x:1000:1::/home/ann:/bin/sh\nnone:x:5:5:::\n";
        assert_eq!(["/home/ann", "/", "/"], [1000, 5, 7].map(|uid| home(passwd, uid)));
    }
}
