// SPDX-License-Identifier: Apache-2.0
//! Rust names for the names of the service models.

/// `EnableResourceNameDnsAAAARecord` -> `enable_resource_name_dns_aaaa_record`, without keyword escapes.
pub fn snake_case(name: &str) -> String {
    let name = name.replace("GiB", "Gib").replace("MiB", "Mib");
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len() + 8);
    for (i, &c) in chars.iter().enumerate() {
        let after_word = i > 0 && (chars[i - 1].is_lowercase() || chars[i - 1].is_ascii_digit());
        let before_word = i > 0 && chars[i - 1].is_uppercase() && chars.get(i + 1).is_some_and(|n| n.is_lowercase());
        // `ARNs` is one word: a plural `s` after an acronym starts no new word.
        let plural = chars.get(i + 1) == Some(&'s') && chars.get(i + 2).is_none_or(|n| n.is_uppercase());
        if c.is_uppercase() && (after_word || (before_word && !plural)) {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// The name of a field: snake case, `r#type` for keywords.
pub fn field(name: &str) -> String {
    let snake = snake_case(name);
    match snake.as_str() {
        "as" | "async" | "await" | "break" | "const" | "continue" | "dyn" | "else" | "enum" | "extern" | "fn"
        | "for" | "gen" | "if" | "impl" | "in" | "let" | "loop" | "match" | "mod" | "move" | "mut" | "pub" | "ref"
        | "return" | "static" | "struct" | "trait" | "try" | "type" | "unsafe" | "use" | "where" | "while"
        | "abstract" | "become" | "box" | "do" | "final" | "macro" | "override" | "priv" | "typeof" | "unsized"
        | "virtual" | "yield" => format!("r#{snake}"),
        _ => snake,
    }
}

/// The same name with its first letter in upper case.
pub fn capitalised(name: &str) -> String {
    let mut chars = name.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_read_like_rust() {
        for (model, rust) in [
            ("VpcId", "vpc_id"),
            ("CidrIpv6", "cidr_ipv6"),
            ("EnableDnsSupport", "enable_dns_support"),
            ("AmazonProvidedIpv6CidrBlock", "amazon_provided_ipv6_cidr_block"),
            ("EnableResourceNameDnsAAAARecord", "enable_resource_name_dns_aaaa_record"),
            ("EnableResourceNameDnsARecord", "enable_resource_name_dns_a_record"),
            ("EnableDns64", "enable_dns64"),
            ("SubnetARNs", "subnet_arns"),
            ("sizeInGiB", "size_in_gib"),
            ("type", "r#type"),
            ("ec2InstanceId", "ec2_instance_id"),
        ] {
            assert_eq!(field(model), rust);
        }
    }
}
