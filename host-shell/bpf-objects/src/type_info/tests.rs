//! Values there and back.

use proptest::prelude::*;

use super::*;

fn integer(bytes: u8, signed: bool) -> Node {
    Node::Integer { name: "number".into(), bytes, signed, style: IntegerStyle::Number }
}

fn info(nodes: Vec<Node>) -> TypeInfo {
    TypeInfo::from_nodes(nodes).unwrap()
}

fn member(name: &str, bytes: u32, node: u32) -> Member {
    Member { name: name.into(), bit_offset: bytes * 8, bits: 0, node }
}

/// `struct { u32 source; u16 port; char name[6]; }`
fn flow() -> TypeInfo {
    info(vec![
        integer(4, false),
        integer(2, false),
        Node::Integer { name: "char".into(), bytes: 1, signed: true, style: IntegerStyle::Character },
        Node::Array { element: 2, count: 6 },
        Node::Record {
            name: "flow".into(),
            bytes: 12,
            union: false,
            members: vec![member("source", 0, 0), member("port", 4, 1), member("name", 6, 3)],
        },
    ])
}

#[test]
fn numbers_of_all_widths() {
    let byte = info(vec![integer(1, true)]);
    assert_eq!(byte.parse("-1"), Ok(vec![255]));
    assert_eq!(byte.parse("255"), Ok(vec![255]));
    assert_eq!(byte.parse("0xff"), Ok(vec![255]));
    assert_eq!(byte.render(&[255]), "-1");
    for text in ["256", "-129", "", "x", "1 2", "0x", "0x-1", "+1", "--1", "1.5"] {
        assert!(byte.parse(text).is_err(), "{text}");
    }
    let long = info(vec![integer(8, false)]);
    assert_eq!(long.parse("18446744073709551615"), Ok(vec![255; 8]));
    assert!(long.parse("18446744073709551616").is_err());
    assert_eq!(long.render(&[255; 8]), "18446744073709551615");
    assert_eq!(long.render(&[1]), "1", "missing bytes are zero");
    let wide = info(vec![integer(16, false)]);
    assert_eq!(wide.parse("-1"), Ok(vec![255; 16]));
}

#[test]
fn bytes_as_they_are() {
    let word = info(vec![integer(4, false)]);
    assert_eq!(word.parse("hex 0a000001"), Ok(vec![10, 0, 0, 1]));
    assert_eq!(word.parse("0a 00 00 01"), Ok(vec![10, 0, 0, 1]));
    assert_eq!(word.parse("0a:00:00:01"), Ok(vec![10, 0, 0, 1]));
    // In the order of packets.
    assert_eq!(word.parse("10.0.0.1"), Ok(vec![10, 0, 0, 1]));
    assert!(word.parse("hex 0a 00").unwrap_err().reason.contains("2 bytes"));
    assert!(word.parse("hex 0g").is_err());
    assert!(word.parse("hex 0").is_err());
    let opaque = TypeInfo::opaque(20);
    assert_eq!(opaque.parse(&opaque.render(&[7; 20])), Ok(vec![7; 20]));
    assert_eq!(TypeInfo::opaque(2).parse("258"), Ok(vec![2, 1]));
    assert_eq!(
        TypeInfo::opaque(0).parse("hex "),
        Err(ValueError { at: 1, reason: "`hex` is no number of 0 bits".into() })
    );
}

#[test]
fn records_by_name_and_in_order() {
    let flow = flow();
    let value = [1, 0, 0, 0, 80, 0, b'w', b'e', b'b', 0, 0, 0];
    assert_eq!(flow.render(&value), "{ source = 1, port = 80, name = \"web\" }");
    for text in [
        "{ source = 1, port = 80, name = \"web\" }",
        "{.name=\"web\",.port=0x50,.source=1}",
        "{ 1, 80, \"web\" }",
        "{ port = 80, \"web\", source = 1, }",
        "{ 1, 80, ['w', 'e', 'b'] }",
    ] {
        assert_eq!(flow.parse(text), Ok(value.to_vec()), "{text}");
    }
    assert_eq!(flow.parse("{ }"), Ok(vec![0; 12]));
    let wrong = |text: &str| flow.parse(text).unwrap_err();
    assert_eq!(wrong("{ colour = 1 }").reason, "no member `colour`; there are source, port, name");
    assert_eq!(
        wrong("{ port = 65536 }"),
        ValueError { at: 10, reason: "`65536` is no number of 16 bits".into() }
    );
    assert!(wrong("{ 1, 2, \"\", 4 }").reason.contains("only 3 members"));
    assert!(wrong("{ name = \"sevenly\" }").reason.contains("room for 6"));
    assert!(wrong("{ 1, 2").reason.contains("`}`"));
    assert!(wrong("{ 1 2 }").reason.contains("`,`"));
    assert!(wrong("{ 1 } x").reason.contains("nothing more"));
    assert!(wrong("5").reason.contains("`{`"));
}

#[test]
fn enumerations_and_bit_fields() {
    let state = Node::Enumeration {
        name: "state".into(),
        bytes: 4,
        signed: true,
        variants: vec![("CLOSED".into(), -1), ("OPEN".into(), 1)],
    };
    let bits = |name: &str, bit_offset, bits, node| Member { name: name.into(), bit_offset, bits, node };
    let info = info(vec![
        state,
        integer(4, true),
        Node::Record {
            name: String::new(),
            bytes: 4,
            union: false,
            members: vec![bits("state", 0, 3, 0), bits("number", 3, 13, 1), bits("rest", 16, 16, 1)],
        },
    ]);
    let value = info.parse("{ CLOSED, -2, rest = 0xffff }").unwrap();
    assert_eq!(value, [0b1111_0111, 0xff, 0xff, 0xff]);
    assert_eq!(info.render(&value), "{ state = CLOSED, number = -2, rest = -1 }");
    assert!(info.parse("{ SHUT }").unwrap_err().reason.contains("CLOSED, OPEN"));
}

#[test]
fn impossible_descriptions_are_refused() {
    let record = |members| Node::Record { name: String::new(), bytes: 4, union: false, members };
    for nodes in [
        vec![],
        vec![integer(3, false)],
        vec![Node::Array { element: 0, count: 1 }],
        vec![integer(8, false), Node::Array { element: 0, count: u32::MAX }],
        vec![integer(8, false), record(vec![member("far", 0, 0)])],
        vec![integer(4, false), record(vec![member("far", 1, 0)])],
        vec![integer(4, false), record(vec![member("self", 0, 1)])],
        vec![
            integer(1, false),
            record(vec![Member { name: String::new(), bit_offset: 1, bits: 0, node: 0 }]),
        ],
        vec![
            integer(8, false),
            record(vec![Member { name: String::new(), bit_offset: 0, bits: 65, node: 0 }]),
        ],
    ] {
        let encoded = postcard::to_allocvec(&nodes).unwrap();
        assert!(TypeInfo::from_nodes(nodes.clone()).is_err(), "{nodes:?}");
        assert!(TypeInfo::decode(&encoded).is_err());
    }
    let mut deep = vec![integer(1, false)];
    for element in 0..TYPE_DEPTH_MAX as u32 {
        deep.push(Node::Array { element, count: 1 });
    }
    assert!(TypeInfo::from_nodes(deep.clone()).is_ok());
    deep.push(Node::Array { element: TYPE_DEPTH_MAX as u32, count: 1 });
    assert!(TypeInfo::from_nodes(deep).is_err());
}

#[test]
fn large_values_are_cut() {
    // 65,536^2 elements, were they shown.
    let info = info(vec![
        integer(1, false),
        Node::Array { element: 0, count: 1 << 12 },
        Node::Array { element: 1, count: 1 << 12 },
    ]);
    let text = info.render(&[1; 1 << 20]);
    assert!(text.len() < 1 << 17 && text.contains("more"), "{}", text.len());
    assert!(info.parse("[]").is_err(), "16 MiB");
}

/// Types without unions and gaps, as a table of nodes.
fn types() -> impl Strategy<Value = TypeInfo> {
    #[derive(Clone, Debug)]
    enum Shape {
        Integer(u8, bool),
        Pointer,
        Array(Box<Shape>, u32),
        Record(Vec<Shape>),
    }
    fn add(shape: &Shape, nodes: &mut Vec<Node>) -> (u32, u32) {
        let (node, bytes) = match shape {
            Shape::Integer(power, signed) => (integer(1 << power, *signed), 1 << power),
            Shape::Pointer => (Node::Pointer, 8),
            Shape::Array(element, count) => {
                let (element, bytes) = add(element, nodes);
                (Node::Array { element, count: *count }, bytes * count)
            }
            Shape::Record(shapes) => {
                let mut end = 0;
                let mut members = Vec::new();
                for (index, shape) in shapes.iter().enumerate() {
                    let (node, bytes) = add(shape, nodes);
                    members.push(member(&format!("m{index}"), end, node));
                    end += bytes;
                }
                (Node::Record { name: String::new(), bytes: end, union: false, members }, end)
            }
        };
        nodes.push(node);
        (nodes.len() as u32 - 1, bytes)
    }
    let leaf = prop_oneof![
        (0..5u8, any::<bool>()).prop_map(|(power, signed)| Shape::Integer(power, signed)),
        Just(Shape::Pointer),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (inner.clone(), 0..4u32).prop_map(|(element, count)| Shape::Array(Box::new(element), count)),
            prop::collection::vec(inner, 0..4).prop_map(Shape::Record),
        ]
    })
    .prop_map(|shape| {
        let mut nodes = Vec::new();
        add(&shape, &mut nodes);
        info(nodes)
    })
}

proptest! {
    #[test]
    fn what_is_shown_can_be_typed((info, value) in types().prop_flat_map(|info| {
        let bytes = info.bytes() as usize;
        (Just(info), prop::collection::vec(any::<u8>(), bytes))
    })) {
        let text = info.render(&value);
        prop_assert_eq!(info.parse(&text), Ok(value), "{}", text);
        prop_assert_eq!(TypeInfo::decode(&info.encode()), Ok(info));
    }

    #[test]
    fn any_text_is_refused_or_a_value(text in "[-{}\\[\\]=,.:'\"a-z0-9 ]{0,60}") {
        let info = flow();
        match info.parse(&text) {
            Ok(value) => prop_assert_eq!(value.len(), 12),
            Err(error) => prop_assert!(error.at <= text.chars().count() + 1),
        }
    }
}
