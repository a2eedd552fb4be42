-- One statement a line; each must be refused. Lines that begin with two hyphens are comments.
-- other statements than a SELECT
insert into projects (id, name) values ('x', 'x')
insert or replace into projects (id, name) values ('x', 'x')
update projects set name = 'x'
delete from projects
truncate projects
merge into projects using tasks on true when matched then delete
create table spy as select * from projects
create or replace table projects (id int)
create view spy as select * from projects
create temp table projects (id int)
create temporary view tasks as select 1
create schema spy
create sequence spy
create macro spy() as 1
create function abs(x) as 1
create type mood as enum ('a')
create index spy on projects (name)
create secret (type s3)
drop table projects
drop table if exists partywall
drop schema main cascade
alter table projects add column spy text
alter table projects rename to spy
begin
begin transaction
start transaction read only
commit
rollback
abort
checkpoint
force checkpoint
vacuum
analyze
vacuum analyze projects
prepare spy as select 1
execute spy
deallocate spy
call pragma_version()
call duckdb_tables()
explain select * from projects
explain analyze select * from projects
explain (format json) select * from projects
use memory
use main
use tenant
comment on table projects is 'x'
-- opening and listing
attach ':memory:' as spy
attach '/etc/passwd' as spy
attach 'beta.duckdb' (read_only)
attach if not exists 'x.duckdb' as tenant
detach tenant
detach database if exists memory
show databases
show tables
show all tables
show schemas
show variables
describe projects
describe select * from projects
desc tasks
summarize projects
summarize select * from projects
pragma database_list
pragma show_tables
pragma table_info('projects')
pragma storage_info('projects')
pragma version
pragma enable_profiling
pragma enable_verification
pragma database_size
select * from (show tables)
select * from (describe projects)
select * from (summarize projects)
from (show databases)
with x as (describe projects) select * from x
-- settings
set memory_limit = '100GB'
set enable_external_access = true
set global threads = 64
set session search_path = 'main'
set schema = 'main'
set role = 'admin'
set variable x = 1
reset memory_limit
reset role
reset all
set timezone = 'UTC'
pragma memory_limit = '1TB'
-- extensions and files
install httpfs
force install httpfs from community
load httpfs
load '/tmp/evil.duckdb_extension'
update extensions
copy projects to '/tmp/spy.csv'
copy (select * from projects) to '/tmp/spy.parquet' (format parquet)
copy projects from '/etc/passwd'
export database '/tmp/spy'
import database '/tmp/spy'
copy from database tenant to memory
select * from read_csv('/etc/passwd')
select * from read_csv_auto('/etc/passwd')
select * from read_text('/etc/passwd')
select * from read_blob('/etc/passwd')
select * from read_json('/etc/passwd')
select * from read_json_auto('/etc/passwd')
select * from read_json_objects('/etc/passwd')
select * from read_ndjson('/etc/passwd')
select * from read_ndjson_objects('/etc/passwd')
select * from read_parquet('/etc/passwd')
select * from parquet_scan('/etc/passwd')
select * from parquet_metadata('/etc/passwd')
select * from parquet_schema('/etc/passwd')
select * from parquet_kv_metadata('/etc/passwd')
select * from parquet_file_metadata('/etc/passwd')
select * from read_duckdb('/etc/passwd')
select * from read_single_csv_file('/etc/passwd')
select * from sniff_csv('/etc/passwd')
select * from glob('/etc/*')
select * from glob('**')
select * from '/etc/passwd'
select * from '/etc/passwd.csv'
select * from 'x.parquet'
select * from "x.json"
select * from 'https://example.test/x.csv'
select * from projects union all select * from '/etc/passwd.csv'
select (select content from read_text('/etc/passwd')) from projects
with x as (select * from read_text('/etc/passwd')) select * from x
select * from projects, lateral (select * from read_text(projects.name)) f
select getenv('HOME')
select * from which_secret('s3://x', 's3')
select * from duckdb_secrets()
select * from arrow_scan(1, 2, 3)
select * from arrow_scan_dumb(1, 2, 3)
select * from pandas_scan(1)
select * from python_map_function(1)
select * from python_arrow_scan(1)
select * from seq_scan('projects')
-- names that lead elsewhere
select * from main.projects
select * from temp.main.projects
select * from memory.main.projects
select * from tenant.main.projects
select * from system.main.duckdb_tables
select * from "tenant"."rows"."projects"
select * from partywall
select * from partywall.stamp
select * from partywall.tenants
select * from tenant.partywall.tenants
select * from information_schema.tables
select * from information_schema.columns
select * from information_schema.schemata
select * from pg_catalog.pg_class
select * from pg_class
select * from pg_tables
select * from pg_settings
select * from pg_database
select * from sqlite_master
select * from sqlite_schema
select * from duckdb_tables
select * from duckdb_columns
select * from duckdb_databases
select * from duckdb_views
select * from duckdb_logs
select * from duckdb_tables()
select * from duckdb_columns()
select * from duckdb_databases()
select * from duckdb_schemas()
select * from duckdb_settings()
select * from duckdb_functions()
select * from duckdb_views()
select * from duckdb_indexes()
select * from duckdb_constraints()
select * from duckdb_dependencies()
select * from duckdb_extensions()
select * from duckdb_memory()
select * from duckdb_temporary_files()
select * from duckdb_variables()
select * from duckdb_types()
select * from duckdb_optimizers()
select * from duckdb_prepared_statements()
select * from duckdb_external_file_cache()
select * from duckdb_logs()
select * from duckdb_log_contexts()
select * from duckdb_connection_count()
select * from duckdb_table_sample('projects')
select * from pragma_table_info('projects')
select * from pragma_storage_info('projects')
select * from pragma_database_size()
select * from pragma_metadata_info()
select * from pragma_show('projects')
select * from pragma_user_agent()
select * from pragma_version()
select * from pragma_platform()
select * from pragma_collations()
select * from pg_timezone_names()
select * from icu_calendar_names()
select * from test_all_types()
select * from test_vector_types(null::int)
select * from summary((select * from projects))
select * from json_execute_serialized_sql('{}')
select json_serialize_sql('select 1')
select json_deserialize_sql('{}')
select json_serialize_plan('select * from projects')
select * from query('select * from projects')
select * from query_table('projects')
select * from query_table(['projects', 'tasks'])
select * from repeat(1, 3)
select * from repeat_row(1, num_rows = 3)
select * from json_each('{}')
select * from json_tree('{}')
select * from unnest(range(3))
select * from range((select count(*) from projects))
select * from projects, range(priority)
select * from tasks, lateral (select * from generate_series(1, priority)) g
select * from enable_logging()
select * from disable_logging()
select * from truncate_duckdb_logs()
select * from force_checkpoint('tenant')
select * from checkpoint()
select * from histogram_values('projects', 'name')
select * from histogram('projects', 'name')
-- functions that tell, change or spend
select current_user
select user
select session_user
select current_role
select current_schema
select current_catalog
select current_database()
select current_schema()
select current_schemas(true)
select current_query()
select current_setting('memory_limit')
select set_config('x', 'y', false)
select in_search_path('tenant', 'main')
select current_connection_id()
select current_query_id()
select current_transaction_id()
select txid_current()
select version()
select pg_typeof(1)
select pg_get_viewdef(1)
select pg_sleep(1)
select sleep_ms(1000)
select stats(name) from projects
select max(stats(budget)) from projects
select name from projects where stats(name) like '%x%'
select vector_type(name) from projects
select getvariable('x')
select setseed(0.5)
select nextval('x')
select currval('x')
select error(name) from projects
select write_log('x')
select parse_duckdb_log_message('x', 'y')
select get_block_size('tenant')
select index_key('projects', 'x')
select __internal_barrier(name) from projects
select alias(name) from projects
select to_json(projects) from projects
select row_to_json(projects) from projects
select json_group_object(name, id) from projects
select has_table_privilege('projects', 'select')
select inet_server_addr()
select col_description(1, 1)
select 'projects'::regclass
select 1::"mood"
select cast(name as struct(a text)) from projects
select enum_range(null::mood)
select repeat('x', 2000000000)
select lpad('x', 2000000000, 'y')
select rpad('x', 2000000000, 'y')
select format('{:>2000000000}', 'x')
select printf('%2000000000d', 1)
select replace(name, '', name) from projects
select regexp_replace(name, '', name, 'g') from projects
select levenshtein(name, name) from projects
select damerau_levenshtein(name, name) from projects
select jaccard(name, name) from projects
select bar(1, 0, 10, 2000000000)
select bitstring('1', 2000000000)
select bitstring_agg(priority, 0, 2000000000) from tasks
select len(range(2000000000))
select range(10)
select generate_series(1, 10)
select list_resize([1], 2000000000)
select array_to_string(list(name), repeat('x', 1000000)) from projects
select list_transform([1], x -> x)
select list_transform([1, 2], lambda x: x + 1)
select list_reduce([1, 2], lambda x, y: x + y)
select list_filter([1], x -> true)
select [x for x in [1, 2]]
select histogram(name) from projects
select approx_top_k(name, 1000000) from projects
select reservoir_quantile(budget, 0.5) from projects
select {'a': name} from projects
select struct_pack(a := name) from projects
select row(name, name) from projects
select map {'a': 1}
select union_value(a := 1)
select projects from projects
select p from projects p
select count(p) from projects p
select (select p from tasks t limit 1) from projects p
select columns(*) from projects
select columns('n.*') from projects
select * replace (stats(name) as name) from projects
select *, stats(name) from projects
select name collate nocase from projects
select try(1 / 0)
select sum(budget) filter (where stats(budget) = '') from projects
select row_number() over (order by stats(name)) from projects
select string_agg(name, ',' order by stats(name)) from projects
select name from projects order by stats(name)
select name from projects limit (select count(*) from duckdb_tables())
select name from projects offset getvariable('x')
select name from projects group by stats(name), name
select count(*) from projects having max(stats(name)) > ''
select name from projects qualify row_number() over (order by stats(name)) = 1
select case when stats(name) = '' then 1 end from projects
select case stats(name) when '' then 1 else 2 end from projects
select name between stats(name) and 'z' from projects
select cast(stats(name) as text) from projects
select coalesce(stats(name)) from projects
select name in (stats(name)) from projects
select not (stats(name) is null) from projects
select [stats(name)] from projects
select exists (select stats(name) from projects)
select * from (values (stats('x'))) v(x)
select * from projects join tasks on stats(projects.name) = ''
select * from (select stats(name) from projects) x
select name from projects union select stats(name) from projects
select distinct on (stats(name)) name from projects
with x as (select stats(name) s from projects) select * from x
with recursive x as (select 1 n union all select n + 1 from x where stats(n) = '') select * from x
-- common table expressions
with gone as (delete from projects returning *) select * from gone
with made as (insert into projects (id, name) values ('x', 'x') returning *) select * from made
with changed as (update projects set name = 'x' returning *) select * from changed
with partywall as (select * from partywall) select * from partywall
with duckdb_tables as (select * from duckdb_tables) select * from duckdb_tables
with x as (with duckdb_tables as (select 1) select 1) select * from duckdb_tables
select (with duckdb_tables as (select 1) select 1) from duckdb_tables
select * from (with pg_class as (select 1 a) select * from pg_class) x, pg_class
with a as (select * from b), b as (select 1) select * from a
with a as not materialized (select 1) select * from a
with "tenant.main.projects" as (select 1) select * from tenant.main.projects
with recursive r(a) using key (a) as (select 1 union select 2 from r) select * from r
-- several statements, and text that hides some
select 1; select 2
select 1; drop table projects
select * from projects; commit; delete from projects
;select 1; select 2;
select 1 /* ; */ ; select 2
commit; select 1
select 1;;select 2
explain select 1; drop table projects
-- rare forms
pivot projects on status using count(*)
unpivot projects on name, status into name n value v
select * from projects pivot (count(*) for status in ('a', 'b'))
select * from projects tablesample 10%
select * from projects using sample 5 rows
select * from projects at (version => 1)
select * from projects at (timestamp => now())
select * from projects positional join tasks
select * from projects for update
select 1 where name
select from projects
select * from
select
selec 1
(select 1
'projects'
projects.name
