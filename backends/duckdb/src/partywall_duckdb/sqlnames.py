"""What a tenant's own SQL may name: functions, operators and types. Whatever is not listed is refused.

Left out on purpose: what reads files, settings or the catalog; ``stats``, which tells of rows that a filter
removed; what makes much of little (``repeat``, ``lpad``, ``replace``, ``format``, a list from ``range``) or takes
quadratic time (``levenshtein``), because no limit of DuckDB's contains it; structs, which double at each nesting;
``uhugeint``, of whose values Arrow makes others.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "AGGREGATES",
    "AMPLIFIERS",
    "FUNCTIONS",
    "GATHERING",
    "GROWING",
    "PATHS",
    "PATTERNS",
    "SERIES",
    "TABLE_FUNCTIONS",
    "TYPES",
    "WINDOWS",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


AGGREGATES: Final = _words(
    """any_value approx_count_distinct approx_quantile arbitrary arg_max arg_max_null arg_min arg_min_null argmax
    argmin array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count count_if count_star countif covar_pop
    covar_samp entropy favg first fsum geomean geometric_mean group_concat kahan_sum kurtosis kurtosis_pop last list
    listagg mad max max_by mean median min min_by mode product quantile quantile_cont quantile_disc regr_avgx
    regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy sem skewness stddev stddev_pop
    stddev_samp string_agg sum sumkahan var_pop var_samp variance"""
)

WINDOWS: Final = AGGREGATES | _words(
    """cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank rank_dense row_number"""
)

_OPERATORS: Final = _words("""% & * ** + - ->> / // << <= <@ = >= >> @> ^ ^@ | || ~ ~~ ~~* ~~~ !~~ !~~*""")

_NUMBERS: Final = _words(
    """abs acos asin atan atan2 bit_count cbrt ceil ceiling cos cot degrees divide even exp fdiv floor fmod gcd
    greatest greatest_common_divisor isfinite isinf isnan lcm least least_common_multiple ln log log10 log2 mod
    multiply pi pow power radians random round round_even roundbankers sign signbit sin sqrt subtract tan trunc xor
    add"""
)

_TEXTS: Final = _words(
    """ascii base64 bit_length char_length character_length chr concat concat_ws contains decode encode ends_with
    from_base64 from_hex hash hex ilike_escape instr lcase left length like_escape lower ltrim md5 not_ilike_escape
    not_like_escape octet_length ord overlay position prefix regexp_escape regexp_extract regexp_full_match
    regexp_matches reverse right rtrim sha1 sha256 split_part starts_with strip_accents strlen strpos substr
    substring suffix to_base64 to_hex translate trim ucase unhex unicode upper"""
)

_MOMENTS: Final = _words(
    """age century date_add date_diff date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname
    dayofmonth dayofweek dayofyear decade epoch epoch_ms epoch_ns epoch_us hour isodow isoyear julian last_day
    make_date make_time make_timestamp microsecond millennium millisecond minute month monthname now quarter second
    strftime strptime time_bucket timezone to_centuries to_days to_decades to_hours to_microseconds to_milliseconds
    to_minutes to_months to_quarters to_seconds to_timestamp to_weeks to_years today try_strptime week weekday
    weekofyear year yearweek"""
)

_DOCUMENTS: Final = _words(
    """json_array_length json_exists json_extract json_extract_path json_extract_path_text
    json_extract_string json_keys json_type json_valid json_value"""
)

_LISTS: Final = _words(
    """array_contains array_length array_position cardinality len list_contains list_distinct list_extract list_has
    list_has_all list_has_any list_position list_reverse_sort list_sort list_unique list_value unnest"""
)

_CHOICES: Final = _words("coalesce gen_random_uuid if ifnull nullif typeof uuid")

FUNCTIONS: Final = AGGREGATES | _OPERATORS | _NUMBERS | _TEXTS | _MOMENTS | _DOCUMENTS | _LISTS | _CHOICES

GROWING: Final = _words("""array_agg concat concat_ws group_concat list list_value listagg string_agg ||""")
"""Those of them whose result may be as large as all their arguments together."""

SERIES: Final = frozenset({"generate_series", "range"})
TABLE_FUNCTIONS: Final = SERIES | {"unnest"}

_MATCHING: Final = _words(
    """~~ !~~ ~~* !~~* ~~~ ilike_escape like_escape not_ilike_escape not_like_escape regexp_extract regexp_full_match
    regexp_matches"""
)

PATTERNS: Final = dict.fromkeys(_MATCHING, 1) | {"concat_ws": 0}
"""Those that take a pattern, or a separator, and its place among the arguments."""

PATHS: Final = _DOCUMENTS - {"json_valid"} | {"->>"}
"""Those that follow paths in a JSON document, which stand after it."""

GATHERING: Final = {
    **dict.fromkeys(("array_agg", "list"), 1),
    **dict.fromkeys(("max", "min"), 2),
    **dict.fromkeys(_words("arg_max arg_max_null arg_min arg_min_null argmax argmin max_by min_by"), 3),
}
"""Those that make a list of many rows, when they have so many arguments."""

AMPLIFIERS: Final = _words(
    """damerau_levenshtein flatten format generate_series hamming jaccard jaro_similarity jaro_winkler_similarity
    json_contains levenshtein list_concat list_resize list_slice lpad printf range regexp_extract_all regexp_replace
    regexp_split_to_array repeat replace rpad str_split string_split string_to_array"""
)
"""What only a process with hard limits may be asked for."""

TYPES: Final = _words(
    """BIGINT BLOB BOOL BOOLEAN BYTEA DATE DATETIME DECIMAL DOUBLE FLOAT FLOAT4 FLOAT8 HUGEINT INT INT1 INT2 INT4 INT8
    INTEGER INTERVAL JSON LIST NUMERIC REAL SHORT SIGNED SMALLINT STRING TEXT TIME TIMESTAMP TIMESTAMPTZ TINYINT
    UBIGINT UINTEGER USMALLINT UTINYINT UUID VARBINARY VARCHAR CHAR BPCHAR"""
) | {"TIMESTAMP WITH TIME ZONE"}
