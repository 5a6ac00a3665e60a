-- One row per run and config key; nested keys are joined with a dot, lists stay whole.
-- reads: staging.runs
with recursive

nodes as (

    -- keys and values side by side: json_each copies its whole input for every key
    select
        run_path,
        unnest(json_keys(config_json)) as key,
        unnest(json_extract(config_json, '$.*')) as value_json,
        [unnest(range(len(json_keys(config_json))))] as place
    from staging.runs
    union all
    select
        run_path,
        key || '.' || unnest(json_keys(value_json)) as key,
        unnest(json_extract(value_json, '$.*')) as value_json,
        list_append(place, unnest(range(len(json_keys(value_json))))) as place
    from nodes
    -- deeper than 64 levels is an attack, not a config: the rest stays one JSON value
    where len(place) < 64

),

leaves as (

    select
        run_path,
        key,
        json_type(value_json) as type,
        -- as text: a case that mixes JSON and text would parse the text as JSON
        cast(value_json as varchar) as value_json
    from nodes
    where
        json_type(value_json) != 'OBJECT'
        or cast(value_json as varchar) = '{}'
        or len(place) = 64
    -- {"a.b": 1, "a": {"b": 2}}: the flattest spelling wins, then the last, as in JSON
    qualify
        row_number() over (
            partition by run_path, key
            order by len(place) asc, place desc
        ) = 1

)

select
    run_path,
    key,
    value_json,
    case
        when type in ('UBIGINT', 'BIGINT', 'HUGEINT', 'DOUBLE')
            then try_cast(value_json as double)
        when type = 'BOOLEAN' then cast(value_json = 'true' as double)
    end as value_double,
    case
        when type = 'VARCHAR' then value_json ->> '$'
        when type != 'NULL' then value_json
    end as value_text
from leaves
