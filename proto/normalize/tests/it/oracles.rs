//! What independent writers make is read without a finding, and as the same members.

use std::io::Write as _;

use quorate_normalize::{Limits, NormalForm, normal_form};
use zip::write::SimpleFileOptions;

use crate::build_tar::gzip;

const FILES: [(&str, &[u8]); 3] = [("p/a.py", b"print()\n"), ("p/empty", b""), ("p/deep/er/b.bin", &[7; 5000])];

fn form(bytes: &[u8], file_name: &str) -> NormalForm {
    let form = normal_form(bytes, file_name, &Limits::default()).unwrap();
    assert_eq!(form.anomalies, [], "{file_name}");
    form
}

fn foreign_zip(options: SimpleFileOptions) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in FILES {
        writer.start_file(name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn foreign_tar(mut header: tar::Header) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in FILES {
        header.set_size(u64::try_from(content.len()).unwrap());
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content).unwrap();
    }
    let long = format!("p/{}", "n".repeat(150));
    header.set_size(1);
    builder.append_data(&mut header, long, &b"x"[..]).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn zips_of_another_writer_have_one_normal_form() {
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).unix_permissions(0o644);
    let deflated = stored.compression_method(zip::CompressionMethod::Deflated);
    let forms = [form(&foreign_zip(stored), "p.zip"), form(&foreign_zip(deflated), "p.zip")];
    assert_eq!(forms[0], forms[1]);
    let streamed = {
        let mut writer = zip::ZipWriter::new_stream(Vec::new());
        for (name, content) in FILES {
            writer.start_file(name, deflated).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    };
    assert_eq!(form(&streamed, "p.zip"), forms[0]);
    let large = form(&foreign_zip(deflated.large_file(true)), "p.zip");
    assert_eq!(large, forms[0]);
}

#[test]
fn tars_of_another_writer_have_one_normal_form() {
    let gnu = foreign_tar(tar::Header::new_gnu());
    let ustar = {
        let mut bytes = foreign_tar(tar::Header::new_gnu());
        bytes.extend([0; 4096]);
        bytes
    };
    let forms = [form(&gnu, "p.tar"), form(&ustar, "p.tar"), form(&gzip(&gnu, 9), "p.tar.gz")];
    assert_eq!(forms[0], forms[1]);
    assert_eq!(forms[0], forms[2]);
}

#[test]
fn gzip_of_another_writer_is_read() {
    let mut encoder = flate2::GzBuilder::new().filename("p.txt").mtime(7).write(Vec::new(), flate2::Compression::best());
    encoder.write_all(b"content").unwrap();
    form(&encoder.finish().unwrap(), "p.txt.gz");
}
