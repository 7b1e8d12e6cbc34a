//! The Dockerfiles of the matrix, with the files that they are built from.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// What a Dockerfile starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// `scratch` or `busybox`.
    Small,
    /// Debian with nothing.
    Debian,
    /// Debian with compilers and package managers.
    Tools,
}

/// A Dockerfile and its context.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) base: Base,
    /// Whether it has no `RUN`.
    pub(super) is_copies_only: bool,
    pub(super) dockerfile: Dockerfile,
    /// Writes what the context has besides the Dockerfile.
    pub(super) write: fn(&Path),
    pub(super) args: &'static [&'static str],
}

/// Where a Dockerfile is.
#[derive(Clone, Copy)]
pub(super) enum Dockerfile {
    Text(&'static str),
    /// A directory of `tests/applications`.
    Application(&'static str),
}

impl Case {
    /// Whether it needs Debian.
    pub(super) fn is_large(&self) -> bool {
        self.base != Base::Small
    }

    /// Makes the context in a directory that is not there yet.
    pub(super) fn context(&self, directory: &Path) {
        match self.dockerfile {
            Dockerfile::Text(text) => {
                put(directory, "Dockerfile", text.as_bytes());
                (self.write)(directory);
            }
            Dockerfile::Application(name) => copy_tree(&applications().join(name), directory),
        }
        canonical(directory);
    }
}

pub(super) fn applications() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/applications").canonicalize().unwrap()
}

fn put(directory: &Path, name: &str, content: &[u8]) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Modes as a checkout has them under umask 022.
fn canonical(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            canonical(&path);
        } else if metadata.is_file() {
            let executable = metadata.permissions().mode() & 0o100 != 0;
            let mode = if executable { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

fn some_files(directory: &Path) {
    for (name, content) in
        [("b/one.txt", "1\n"), ("a/two.txt", "2\n"), ("a/same.txt", "1\n"), ("top.txt", "top\n")]
    {
        put(directory, name, content.as_bytes());
    }
    put(directory, "bin/tool", b"#!/bin/sh\necho tool\n");
    fs::set_permissions(directory.join("bin/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../top.txt", directory.join("a/link")).unwrap();
}

/// Names that are no text, that are as long as names can be, and that need care anywhere.
fn odd_names(directory: &Path) {
    use std::os::unix::ffi::OsStrExt as _;
    let deep =
        (0..30).map(|number| format!("level-{number:03}-of-a-long-path")).collect::<Vec<_>>().join("/");
    put(directory, &format!("{deep}/end"), b"deep");
    put(directory, &"n".repeat(255), b"long");
    for name in [
        &b"caf\xe9"[..],
        b"new\nline",
        b"sp ace",
        b"-dash",
        b"\xff\xfe",
        "\u{fc}ber".as_bytes(),
        b"*star",
        b"#sharp",
    ] {
        put(directory, "odd/x", b"odd");
        fs::write(directory.join("odd").join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
}

/// An archive whose members have attributes and capabilities, made once by the tools of this machine.
fn with_attributes(directory: &Path) {
    put(directory, "f", b"x");
    fs::write(directory.join("caps.tar"), super::lab::attributes()).unwrap();
}

fn large_file(directory: &Path) {
    let lines: String = (0..300_000).map(|number| format!("{number} {}\n", number % 97)).collect();
    put(directory, "large", lines.as_bytes());
    put(directory, "zeros", &vec![0; 3 << 20]);
}

fn module(directory: &Path) {
    put(directory, "greet.py", b"def hello():\n    return 'hello'\n");
}

fn none(_: &Path) {}

const fn small(name: &'static str, dockerfile: &'static str, write: fn(&Path)) -> Case {
    Case {
        name,
        base: Base::Small,
        is_copies_only: false,
        dockerfile: Dockerfile::Text(dockerfile),
        write,
        args: &[],
    }
}

const fn application(name: &'static str, args: &'static [&'static str]) -> Case {
    let dockerfile = Dockerfile::Application(name);
    Case { name, base: Base::Tools, is_copies_only: false, dockerfile, write: none, args }
}

/// Every Dockerfile.
pub(super) fn cases() -> Vec<Case> {
    let copies = small(
        "copy",
        "FROM scratch\nCOPY . /app/\nCOPY --chmod=0600 --chown=1:2 top.txt /secret/\nWORKDIR /made/dir\nENV A=b\nLABEL x=y\n",
        some_files,
    );
    let names = small("names", "FROM scratch\nCOPY . /odd/\n", odd_names);
    vec![
        Case { is_copies_only: true, ..copies },
        Case { is_copies_only: true, ..names },
        small(
            "runnames",
            "FROM busybox
RUN mkdir /n && cd /n && touch \"$(printf 'a\\377\\376')\" \"$(printf 'b\\nc')\" $(printf 'x%.0s' $(busybox seq 255)) && mkdir -p $(printf 'd123456789/%.0s' $(busybox seq 80))
RUN ls -1 /n > /list && busybox find /n | sort > /found
",
            none,
        ),
        small(
            "listing",
            "FROM busybox
COPY . /in/
RUN mkdir /d && for i in zeta beta 10 9 Alpha alpha omega phi; do echo $i > /d/$i; done
RUN ls -1 /d /in /in/a > /list && stat -c '%n %a %u %g %s %Y %h' $(busybox find /in /d ! -type d | sort) > /stat && busybox find /d /in | sort > /found && sort /list > /sorted
",
            some_files,
        ),
        small(
            "links",
            "FROM busybox
COPY . /in/
RUN mkdir /l && echo x > /l/b && ln /l/b /l/a && ln /l/b /c && cp /in/a/same.txt /l/s && ln /l/s /l/t
RUN rm /l/a && echo y >> /l/t && ln /in/top.txt /top
FROM busybox
COPY --from=0 /l /copied/l/
COPY --from=0 /in /copied/in/
COPY --from=0 /c /c
",
            some_files,
        ),
        small(
            "xattrs",
            "FROM busybox\nADD caps.tar /x/\nRUN chown 5:6 /x/x/plain && cp /x/x/plain /copy\nFROM scratch\nCOPY --from=0 /x /x\nCOPY --from=0 /copy /\n",
            with_attributes,
        ),
        small(
            "symlinks",
            "FROM busybox
RUN mkdir -p /s/d && cd /s && for i in $(busybox seq 200); do ln -s ../d/$i d/l$i; ln -s d/l$i m$i; done; ln -s loop loop; ln -s /absolute/nowhere dangling; ln -s . d/self
RUN rm -r /s/d && mkdir /s/d && for i in 3 1 2; do ln -s m$i /s/d/l$i; done
COPY --from=busybox /bin /s/bin
",
            none,
        ),
        small(
            "again",
            "FROM busybox
COPY . /w/
RUN rm -r /w/a && mkdir /w/a && echo new > /w/a/two.txt && rm /w/top.txt && mkdir /w/top.txt && echo in > /w/top.txt/in
RUN rm -r /w/top.txt && ln -s a /w/top.txt && rm -r /w/b && echo file > /w/b && rm -r /root
COPY a /w/a
RUN rm -rf /w && mkdir -m 0700 /w && touch /bin/sh /etc/passwd
RUN touch /w/same && chmod 0755 /w && chmod 0700 /w
",
            some_files,
        ),
        small(
            "stages",
            "# syntax=docker/dockerfile:1
ARG WHO=web
FROM busybox AS one
ARG WHO
WORKDIR /one/two
COPY --chown=web a b /to/
RUN <<END
set -e
echo $WHO > who
cat /to/*.txt >> who
END
FROM busybox AS two
RUN echo two > /two && mkdir -m 1777 /sticky
FROM one
USER web:33
ENV PATH=/usr/bin:/bin MADE=\"by $WHO\"
COPY --from=two --chown=0:web --chmod=640 /two /given/
RUN id > /tmp/id && env > /tmp/env
COPY <<EOF /etc/made.conf
who = $WHO
EOF
EXPOSE 80
VOLUME /data
ENTRYPOINT [\"cat\", \"/etc/made.conf\"]
HEALTHCHECK CMD true
STOPSIGNAL SIGINT
",
            some_files,
        ),
        small(
            "large",
            "FROM busybox
COPY . /l/
RUN busybox seq 1 400000 > /numbers && busybox dd if=/dev/zero of=/sparse bs=1048576 seek=4 count=0 2> /dev/null && busybox dd if=/dev/zero of=/holes bs=1048576 seek=2 count=1 2> /dev/null
RUN echo end >> /l/large
",
            large_file,
        ),
        small(
            "special",
            "FROM busybox
RUN mkdir /p && cd /p && mkfifo fifo && touch a b c d e && chmod 0000 a && chmod 6755 b && chown 65534:12345 c && chmod u+s c && mkdir -m 2775 group && mkdir -m 1733 sticky && touch -d '1971-02-03 04:05' d && touch -d '2037-01-01 00:00' e
RUN --mount=type=tmpfs,target=/t --mount=type=cache,target=/c,id=special echo x > /t/x && echo y > /c/y && cp /c/y /p/y
",
            none,
        ),
        small(
            "world",
            "FROM busybox
RUN env | sort > /env; id > /id; hostname > /name; umask > /umask; echo $$ > /pid; pwd > /pwd; cat /etc/hosts > /hosts; busybox date -d @86400 > /date; printf 'b\\nA\\na\\nB\\n' | sort > /order; ls /dev > /devices; echo ~ > /home; tr -d '\\0' < /proc/self/cmdline > /cmdline; printf '%s\\n' \"$LANG$LC_ALL$TZ$USER\" > /locale
",
            none,
        ),
        Case {
            name: "apt",
            base: Base::Debian,
            is_copies_only: false,
            dockerfile: Dockerfile::Text(
                "FROM debian:bookworm AS work
ARG SHIFT
COPY greet.py /srv/
RUN --mount=type=bind,from=faketime,target=/faketime if [ -n \"$SHIFT\" ]; then export LD_PRELOAD=/faketime/libfaketime.so.1 FAKETIME=\"$SHIFT\"; fi; \\
    apt-get -o Acquire::Check-Date=false update \\
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-minimal libcap2-bin fontconfig \\
    && useradd --create-home web && echo web:secret | chpasswd -c NONE && setcap cap_net_raw+ep /usr/bin/python3.11 \\
    && cp /srv/greet.py /srv/said.py && (cd /srv && python3 -c 'import said') && date > /var/log/apt/today && cp /srv/greet.py /srv/copy.py && gzip /srv/copy.py \\
    && tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
# What SHIFT was is in the history of the first stage only.
FROM scratch
COPY --from=work / /
",
            ),
            write: module,
            args: &[
                "--fix=apt-logs,apt-lists,dpkg-old,ldconfig-cache,font-cache,machine-id,shadow-dates",
                "--fix=pyc,gzip-mtime",
            ],
        },
        application("c", &[]),
        application("go", &["--build-arg=VERSION=1.2"]),
        application("python", &[]),
        application("node", &[]),
    ]
}
