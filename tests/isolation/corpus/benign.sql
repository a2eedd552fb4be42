-- What people write: each must run.
select * from projects
select id, name from projects where status = 'active' order by name desc nulls last limit 3 offset 0
select p.name, t.title from projects p join tasks t on t.project_id = p.id
select p.name, count(t.id) as tasks from projects p left join tasks t on t.project_id = p.id group by p.name order by tasks desc
select p.name from projects p right join tasks t on t.project_id = p.id
select p.name, t.title from projects p full outer join tasks t on t.project_id = p.id
select p.name from projects p semi join tasks t on t.project_id = p.id
select p.name from projects p anti join tasks t on t.project_id = p.id
select a.id from projects a join projects b using (id)
select a.name, b.name as other from projects a cross join projects b
select p.name from projects p asof join tasks t on p.created_at >= t.created_at
select status, count(*) as n, sum(budget), avg(budget), min(name), max(name) from projects group by status having count(*) > 0
select status, name, count(*) as n from projects group by rollup (status, name)
select status, name, count(*) as n from projects group by grouping sets ((status), (name), ())
select status, grouping(status) as g from projects group by cube (status)
select status, count(*) as n from projects group by all order by all
select count(distinct status) as n, count(*) filter (where budget > 1) as rich from projects
select median(budget), quantile_cont(budget, 0.9), stddev_samp(budget), mode(status) from projects
select arg_max(name, budget) as dearest, any_value(name), first(name), last(name), string_agg(name, ', ' order by name) from projects
select len(list(name)), array_length(array_agg(name order by name)), list_contains(list(name), 'A') from projects
select name, row_number() over (order by budget) as r, rank() over (partition by status order by budget desc) as k from projects
select name, lag(budget, 1, 0.0) over w as before, lead(budget) over w as after from projects window w as (order by created_at)
select sum(budget) over (order by created_at rows between 1 preceding and current row) as running from projects
select avg(budget) over (order by created_at range between interval 1 day preceding and current row) as week from projects
select name, ntile(4) over (order by budget) as n, percent_rank() over (order by budget) as p, first_value(name) over (order by id) as f from projects
select * from projects qualify row_number() over (partition by status order by budget) = 1
with rich as (select * from projects where budget > 1) select count(*) as n from rich
with a as (select id from projects), b as materialized (select id from a) select * from a union all select * from b
with t(x, y) as (select id, name from projects) select x, y from t
with recursive n(i) as (select 1 union all select i + 1 from n where i < 10) select sum(i) as s from n
select * from projects where id in (select project_id from tasks)
select * from projects where exists (select 1 from tasks where tasks.project_id = projects.id)
select name, (select count(*) from tasks where project_id = projects.id) as n from projects
select * from projects where budget >= all (select budget from projects where budget is not null)
select * from projects where budget = any (select budget from projects)
select p.name, x.n from projects p, lateral (select count(*) as n from tasks where project_id = p.id) x
select * from (select name, budget * 2 as twice from projects) x where twice > 1
select id from projects union select id from tasks
select id from projects intersect select id from projects
select id from projects except all select id from tasks order by 1
select distinct status from projects
select distinct on (status) status, name from projects order by status, name
select case when budget > 3 then 'rich' when budget is null then 'unknown' else 'poor' end as class from projects
select case status when 'active' then 1 else 0 end as a from projects
select coalesce(budget, 0), nullif(name, ''), ifnull(status, 'x'), if(budget > 1, 'a', 'b'), greatest(1, 2), least(1, 2) from projects
select name from projects where name like 'A%' or name ilike '%p%' or name not like 'z' or name similar to 'A.*'
select name from projects where budget between 1 and 10 and name is not null and not (status = 'done')
select name from projects where budget is distinct from 3 and status in ('active', 'done') and name not in ('x')
select upper(name), lower(name), length(name), substr(name, 1, 2), substring(name from 1 for 2), trim(name), left(name, 1), right(name, 1) from projects
select name || ' (' || status || ')' as label, concat(name, status), concat_ws('-', name, status), split_part(name, 'o', 1), reverse(name) from projects
select regexp_matches(name, '^A'), regexp_extract(name, '[a-z]+'), starts_with(name, 'A'), contains(name, 'p'), strpos(name, 'o') from projects
select md5(name), sha256(name), hash(name), to_base64(encode(name)), hex(name) from projects
select abs(-1), round(1.5), floor(1.5), ceil(1.5), sqrt(4), pow(2, 3), mod(5, 2), 7 // 2, 7 % 2, 2 ** 3, ln(2.7), sign(-3)
select budget::bigint as b, cast(budget as varchar) as c, try_cast(name as integer) as d, budget::decimal(10, 2) as e from projects
select extract(year from created_at) as y, date_trunc('month', created_at) as m, created_at + interval 3 days as later, strftime(created_at, '%Y-%m') as f from projects
select date_diff('day', created_at, now()::timestamp) as age, year(created_at), month(created_at), dayofweek(created_at), last_day(created_at) from projects
select * from projects where created_at > now() - interval 7 day or created_at > timestamp '2024-01-01 00:00:00' or created_at < date '2024-01-01'
select current_date, current_timestamp, today(), epoch(created_at), time_bucket(interval 1 week, created_at) from projects
select metadata ->> 'a' as a, metadata -> '$.a' as b, json_extract_string(metadata, '$.a') as c, json_valid(metadata), json_type(metadata, '$.a') from projects
select json_array_length(tags) as n, tags ->> 0 as first from documents
select * from (values (1, 'a'), (2, 'b')) v(x, y)
select [1, 2, 3] as l, list_contains([1, 2], 1) as has, len([1, 2]) as n, [1, 2, 3][1] as one
select unnest([1, 2, 3]) as x
select * from unnest([1, 2, 3]) u(x)
select r.i, p.name from range(1, 4) r(i) left join projects p on true
select d from generate_series(date '2024-01-01', date '2024-01-31', interval 1 day) g(d)
select * exclude (metadata) from projects
select * replace (upper(name) as name) from projects
select * rename (name as title) from projects
select p.*, 1 as one from projects p
select name, budget * 2 as twice, twice + 1 as more from projects
select corr(budget, budget), regr_slope(budget, budget), var_pop(budget), bool_or(budget > 1), bit_or(1) from projects
select octet_length(content), content from documents
select projects.name from projects where projects.id = projects.id
