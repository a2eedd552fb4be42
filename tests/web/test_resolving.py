"""Which tenant a request names: classes C (signals) and D (hosts)."""

import pytest

from partywall.errors import HostInvalid, InvalidArgument, TenantAmbiguous, TenantNotFound, TenantRequired
from partywall.web import Request

ACME, BETA = "ten_acme", "ten_beta"


@pytest.fixture
def world(still_world):
    return still_world


def refused(gate, request, error, *, code=None):
    with pytest.raises(error) as caught:
        gate.resolve(request)
    assert caught.value.status == 400
    if code:
        assert caught.value.code == code
    return str(caught.value)


@pytest.mark.parametrize(
    "named",
    [
        {"tenant": "acme"},
        {"tenant": ACME},
        {"slug": "acme"},
        {"slug": ACME},
        {"host": "acme.example.com"},
        {"host": "app.acme.test"},
        {"host": "app.acme.test", "tenant": ACME, "slug": "acme"},
        {"host": "acme.example.com", "tenant": ACME, "slug": "acme"},
    ],
)
def test_a_tenant_is_named_by_header_path_and_host_alike(world, named):
    assert world.gate.resolve(world.request(**named)) == ACME


@pytest.mark.parametrize(
    "named",
    [
        {"host": "beta.example.com", "tenant": "acme"},
        {"host": "beta.example.com", "tenant": ACME},
        {"host": "app.beta.test", "tenant": "acme"},
        {"host": "acme.example.com", "slug": "beta"},
        {"tenant": "acme", "slug": "beta"},
        {"tenant": ACME, "slug": "beta"},
        {"tenant": "acme", "slug": "ghost"},
        {"tenant": "ten_ghost", "slug": "ghost"},
        {"host": "acme.example.com", "tenant": "acme", "slug": "beta"},
    ],
)
def test_c2_two_sources_that_name_two_tenants_are_refused_without_precedence(world, named):
    refused(world.gate, world.request(**named), TenantAmbiguous, code="tenant-ambiguous")


@pytest.mark.parametrize("second", ["acme", "beta", ""])
@pytest.mark.parametrize("name", ["X-Tenant-Id", "x-tenant-id", b"X-TENANT-ID"])
def test_c3_two_tenant_headers_are_refused_even_if_they_agree(world, name, second):
    refused(world.gate, world.request(tenant="acme", extra=[(name, second)]), TenantAmbiguous)


@pytest.mark.parametrize("value", ["acme\r\n", "acme\n", "ac\rme", " acme", "acme ", "ac me", "acme\t", "acme\0"])
def test_c5_cr_lf_and_spaces_are_refused(world, value):
    refused(world.gate, world.request(tenant=value), TenantRequired)
    refused(world.gate, world.request(slug=value), TenantRequired)


@pytest.mark.parametrize("value", ["Acme", "ACME", "TEN_ACME", "Ten_acme"])
def test_c6_another_case_is_refused(world, value):
    refused(world.gate, world.request(tenant=value), TenantRequired)
    refused(world.gate, world.request(slug=value), TenantRequired)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "acme,beta",
        "acme,acme",
        "../acme",
        "%61cme",
        "acme/",
        "\u0430cme",
        "acme\u200b",
        b"\xffcme",
        "-acme",
        "www",
        "x" * 49,
    ],
)
def test_c_what_is_no_id_and_no_slug_is_refused_and_not_echoed(world, value):
    text = refused(world.gate, world.request(tenant=value), TenantRequired, code="tenant-missing")
    assert text == "X-Tenant-Id holds no tenant id and no slug"


def test_c7_no_tenant_is_refused_for_there_is_no_default(world):
    refused(world.gate, world.request(), TenantRequired, code="tenant-missing")
    refused(world.gated(), world.request(host="localhost"), TenantRequired, code="tenant-missing")


@pytest.mark.parametrize("name", ["X-Forwarded-Host", "Forwarded", "X-Original-Host", "X_Tenant_Id", "baggage"])
def test_c10_only_the_host_and_the_tenant_header_are_read(world, name):
    forged = [(name, "beta.example.com"), (name, "host=beta.example.com;tenant=beta")]
    assert world.gate.resolve(world.request(host="acme.example.com", extra=forged)) == ACME
    refused(world.gate, world.request(extra=forged), TenantRequired)


def test_headers_may_be_bytes_or_a_mapping(world):
    assert world.gate.resolve(Request([(b"x-tenant-id", b"acme")])) == ACME
    assert world.gate.resolve(Request({"X-TENANT-ID": "acme", "Host": "acme.example.com"})) == ACME
    with pytest.raises(TenantAmbiguous):
        world.gate.resolve(Request({"X-Tenant-Id": "acme", "x-tenant-id": "acme"}))
    with pytest.raises(InvalidArgument):
        world.gate.resolve(Request([("host", None)]))


@pytest.mark.parametrize("named", [{"tenant": "ghost"}, {"tenant": "ten_ghost"}, {"host": "ghost.example.com"}])
def test_an_unknown_tenant_is_not_found(world, named):
    with pytest.raises(TenantNotFound):
        world.gate.resolve(world.request(**named))


@pytest.mark.parametrize("port", ["80", "443", "8443", "1", "65535"])
def test_d1_l8_a_good_port_is_fine_and_changes_nothing(world, port):
    assert world.gate.resolve(world.request(host=f"acme.example.com:{port}")) == ACME


@pytest.mark.parametrize("port", ["", "0", "65536", "99999", "080", "80a", "-1", "+80", " 80", "80 ", "٨٠", "80:80"])
def test_d1_a_bad_port_is_refused(world, port):
    refused(world.gate, world.request(host=f"acme.example.com:{port}"), HostInvalid, code="host-invalid")


@pytest.mark.parametrize("host", ["ACME.example.com", "Acme.Example.COM", "APP.ACME.TEST"])
def test_d2_l8_upper_case_is_the_same_tenant(world, host):
    assert world.gate.resolve(world.request(host=host)) == ACME


@pytest.mark.parametrize("host", ["acme.example.com.", "acme.example.com.:80", "app.acme.test."])
def test_d3_l8_one_trailing_dot_is_the_same_tenant(world, host):
    assert world.gate.resolve(world.request(host=host)) == ACME


BAD_HOSTS = [
    "acme.example.com.attacker.com",  # D4
    "evilexample.com",  # D5
    "acme-example.com",
    "evil@acme.example.com",  # D6
    "acme@example.com",
    "acme:pw@example.com",
    "http://acme.example.com",
    "acme.example.com/x",
    "acme.example.com?x",
    "acme.example.com#x",
    "acme.example.com\\x",
    "bücher.example.com",  # D9
    b"b\xc3\xbccher.example.com",
    "\u212aacme.example.com",
    "xn--bcher-kva.example.com",
    ".example.com",  # D11
    "acme..example.com",
    "acme.example.com..",
    "..",
    ".",
    "",
    "_acme.example.com",  # D13
    "ac_me.example.com",
    "-acme.example.com",
    "acme-.example.com",
    "a.acme.example.com",
    "ten_acme.example.com",
    "ten-acme.example.com",
    f"{'a' * 64}.example.com",
    f"{'a.' * 130}example.com",
    "127.0.0.1",
    "[::1]",
    "[::1]:80",
    "localhost",
    "acme.example.com, beta.example.com",
    "acme.example.com beta",
    " acme.example.com",
    "acme.example.com\n",
    "acme.example.com\0",
    "example.comm",
    "com",
]


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_d4_d5_d6_d9_d11_d13_a_host_that_is_not_ours_is_refused_whatever_else_names_the_tenant(world, host):
    text = refused(world.gate, world.request(host=host), HostInvalid)
    assert refused(world.gate, world.request(host=host, tenant="acme", slug="acme"), HostInvalid) == text
    assert "acme" not in text


def test_two_host_headers_are_refused(world):
    for gate in (world.gate, world.gated()):
        refused(gate, world.request(host="acme.example.com", extra=[("host", "acme.example.com")]), HostInvalid)


@pytest.mark.parametrize("host", ["example.com", "EXAMPLE.com.:80", "www.example.com", "api.example.com"])
def test_d8_the_apex_www_and_other_reserved_names_name_no_tenant(world, host):
    refused(world.gate, world.request(host=host), TenantRequired, code="tenant-missing")
    assert world.gate.resolve(world.request(host=host, tenant="acme")) == ACME


def test_d9_a_registered_encoded_name_is_its_tenants(world):
    assert world.gate.resolve(world.request(host="xn--bcher-kva.test")) == ACME


def test_a_domain_that_a_tenant_declares_cannot_take_anothers_host(world):
    """beta declares acme.example.com among its domains; the host is acme's all the same."""
    assert world.gate.resolve(world.request(host="acme.example.com")) == ACME


def test_without_a_base_domain_only_declared_domains_mean_anything(world):
    gate = world.gated()
    for host in ("localhost:8000", "beta.example.com", "[::1]", "evil@app.beta.test", "", "app.beta.test:0"):
        assert gate.resolve(world.request(host=host, tenant="acme")) == ACME
    assert gate.resolve(world.request(host="app.beta.test")) == BETA
    refused(gate, world.request(host="app.beta.test", tenant="acme"), TenantAmbiguous)


@pytest.mark.parametrize("base", ["Example.com", "example.com.", "example.com:80", "", "a b", ".example.com"])
def test_a_base_domain_that_is_no_host_name_is_refused(world, base):
    with pytest.raises(InvalidArgument):
        world.gated(base_domain=base)
