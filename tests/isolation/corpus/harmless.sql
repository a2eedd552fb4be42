-- Attacks that are SELECTs over the tenant's own tables: they run, and show what is the tenant's own.
select * from projects where name = 'x' or 1 = 1
select * from projects where true -- and tenant_id = 'other'
select * from projects /* where tenant_id = ? */
select * from projects where name = '' or '' = ''
select name from projects union all select title from tasks
select id, name from projects union select id, title from tasks
with projects as (select * from projects) select * from projects
with tasks as (select * from projects) select name from tasks
with partywall as (select name from projects) select * from partywall
with duckdb_tables as (select name from projects) select * from duckdb_tables
with main as (select name from projects) select * from main
with "information_schema" as (select 1 as n) select * from information_schema
select * from projects where name > (select min(name) from projects) or name is not null
select 1 / (select count(*) from projects where name like 'ten_%')
select * from PROJECTS
select * from "projects"
select * from "Projects"
select p.* from projects p, projects q where p.id <> q.id or p.id = q.id
select sum(case when name like '%' then 1 else 0 end) as n from projects
select count(*) as n from projects where id in (select id from projects except select project_id from tasks)
from projects
table projects
select * from projects;
select name from projects where name <> $$'; drop table projects --$$
select name from projects where name <> e'\'; drop table projects --'
select "name" from projects where name <> '--' /* '; */
select * from projects order by all limit 5
values ('a'), ('b')
