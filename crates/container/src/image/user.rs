//! Names of users and groups: the image's own `/etc/passwd` and `/etc/group` define them (passwd(5), group(5)).

use oci_spec::runtime as spec;

/// Who a process is.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Number.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Other groups that it belongs to.
    pub groups: Vec<u32>,
    /// Its directory.
    pub home: String,
}

impl User {
    /// As the runtime wants it.
    pub fn spec(&self) -> spec::User {
        let mut made = spec::User::default();
        made.set_uid(self.uid).set_gid(self.gid).set_additional_gids(Some(self.groups.clone()));
        made
    }
}

/// A line of `/etc/passwd` or `/etc/group`: its fields, where there are enough.
fn lines(text: &str, fields: usize) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(move |f| f.len() >= fields)
}

/// Finds `USER[:GROUP]`, each a name or a number; nothing is root. `read` gives a file of the image.
///
/// # Errors
/// A sentence where the image defines no such user or group.
pub fn find(named: &str, read: &dyn Fn(&str) -> Option<String>) -> Result<User, String> {
    let passwd = read("/etc/passwd").unwrap_or_default();
    let group = read("/etc/group").unwrap_or_default();
    let (user, wanted) = named.split_once(':').unwrap_or((named, ""));
    let user = if user.is_empty() { "0" } else { user };
    let entry = lines(&passwd, 6).find(|f| f[0] == user || f[2] == user);
    let mut found = match (&entry, user.parse()) {
        (Some(fields), _) => {
            let number = |i: usize| {
                fields[i]
                    .parse()
                    .map_err(|_| format!("user '{user}' has no number in the image's /etc/passwd"))
            };
            User { uid: number(2)?, gid: number(3)?, groups: Vec::new(), home: fields[5].into() }
        }
        (None, Ok(uid)) => User { uid, gid: 0, groups: Vec::new(), home: "/".into() },
        (None, Err(_)) => {
            return Err(format!(
                "the image's /etc/passwd has no user '{user}': name a number, or one that it has"
            ));
        }
    };
    if wanted.is_empty() {
        let name = entry.map_or(user, |f| f[0]);
        let member = |f: &Vec<&str>| f[3].split(',').any(|m| m == name);
        found.groups = lines(&group, 4).filter(member).filter_map(|f| f[2].parse().ok()).collect();
    } else {
        let entry = lines(&group, 3).find(|f| f[0] == wanted || f[2] == wanted);
        let number = entry.map_or(wanted, |f| f[2]);
        found.gid = number.parse().map_err(|_| {
            format!("the image's /etc/group has no group '{wanted}': name a number, or one that it has")
        })?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(name: &str) -> Option<String> {
        match name {
            "/etc/passwd" => {
                Some("root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\nbad:x:y:1::/:\n".into())
            }
            "/etc/group" => Some("root:x:0:\nstaff:x:50:web,root\nbroken\nwww:x:34:\n".into()),
            _ => None,
        }
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
        assert_eq!(find("5:6", &|_| None), user(5, 6, &[], "/"));
    }

    #[test]
    fn what_is_not_there_is_said() {
        assert!(find("nobody", &files).unwrap_err().contains("no user 'nobody'"));
        assert!(find("web:none", &files).unwrap_err().contains("no group 'none'"));
        assert!(find("bad", &files).unwrap_err().contains("no number"));
        assert!(find("4294967296", &files).is_err());
    }
}
